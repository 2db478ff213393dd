// Package httpapi is the HTTP door: JSON under /v1, over HTTP/1.1 and cleartext HTTP/2. It reads a request, calls one use case and writes what
// that answers. What a payment is, and what a key means, must never be decided here.
package httpapi
