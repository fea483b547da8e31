// Package calls holds whole calls in one process: plain user agents, two
// sipwards and the wire between them on an in-memory network whose clock
// stands still while everybody waits.
package calls
