// Package report writes what was measured: a JSON line for programs, a table
// and a plot for docs/performance.md.
package report
