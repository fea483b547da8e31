// Package record writes what happened to calls, so that it can be shown later
// that nobody has changed it.
//
// A folder holds files of JSON lines, one line for each call when it has ended:
//
//	{"seq":7,"prev":"5d1c…","time":"2026-05-04T10:11:12.5Z","call":{"id":"4f…",…}}
//
// prev is the SHA-256 of the line before it, without its line feed, in hex; the
// first line ever has 64 zeros. A line that is changed, taken out, put in or
// moved no longer fits the one behind it, and [Verify] says which. The last
// lines have none behind them: who keeps the hash that [Writer.Head] and Verify
// give can show that none of those is missing.
//
// The file calls.jsonl is written to. When it is full it is renamed to
// calls-<seq of its first line>.jsonl, and the chain goes on in a new one.
//
// Lines are on the disk (fsync) before [Writer.Flush] and Close return, and a
// moment after Add. What a crash cuts off in the middle of a line was never
// promised; Open takes it away.
//
// No line holds keys or anything that keys can be made of.
package record
