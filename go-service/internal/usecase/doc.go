// Package usecase holds what the service does, one verb a file. Both doors call these and nothing else, with members that are still as the
// client sent them, so that both doors refuse the same. What knows of HTTP, of gRPC messages or of SQL must never live here.
package usecase
