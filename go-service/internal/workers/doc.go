// Package workers holds what the service does without being asked. Each worker is a Run until shutdown, and a Step that does what is due and
// says how much, which tests call themselves. A worker waits for what comes due in Run alone, never in Step.
package workers
