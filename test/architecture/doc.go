// Package architecture holds the rules between the packages of this module, and
// tests that read the source for them: which package may import which, that a
// type of another module appears in no package's exported declarations, and that
// every package says in a comment what it is for.
//
// The source is parsed, not type-checked, so that the rules hold for files of
// every operating system and for files that do not compile at the moment.
package architecture
