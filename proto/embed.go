// Package proto holds the wire contract's document, embedded from the file beside it. A Go module can't embed files above itself, so the
// folder is a module of its own and the Go twin's go.mod says `replace twinpay.dev/proto => ../proto`.
package proto

import _ "embed"

// OpenAPI is the HTTP API's document, which GET /openapi.json answers. Not to be written to.
//
//go:embed openapi.json
var OpenAPI []byte
