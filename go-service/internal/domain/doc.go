// Package domain holds what Twinpay knows about payments: money, cards, the state machine, journals, events, and the reasons why a request
// isn't done. Everything is pure: values in, values out. What does I/O, reads a clock, takes a context or logs must never live here.
package domain
