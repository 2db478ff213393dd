// Package workers holds what the service does without being asked. Each worker is a Step that says how much it did, run in a loop until
// shutdown; tests call Step themselves. A worker waits for work in Run alone, never in Step.
package workers
