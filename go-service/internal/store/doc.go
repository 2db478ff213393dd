// Package store is the only place that talks to Postgres: one function a statement, each statement a file in db/queries and one round trip.
// Rows are collected by name into private structs and turned into values of the domain at once. What a merchant may do is decided elsewhere;
// a transaction that spans more than a statement must never live here.
package store
