// Command sipward joins the telephones of one side, which speak plain SIP and
// RTP, with the network outside, and protects what goes there. It is one
// program with a verb for each thing that it does:
//
//	sipward run      takes calls until it is stopped
//	sipward check    says what is wrong with a configuration, and with the world for it
//	sipward explain  says what would become of a call, and why
//	sipward status   shows how a running sipward is
//	sipward calls    shows the live calls of a running sipward
//	sipward confirm  says that both people have read the same words
//	sipward trust    shows and changes what is remembered of the keys of others
//	sipward keys     shows and replaces the keys that sign calls
//	sipward demo     two phones, two sipwards and a wiretap in one process
//	sipward version  what this program was built from
//
// The exit status is 0 where all went well, 1 after a failure and 2 where the
// command line or the configuration has to be changed first. A sipward run that
// gets a second signal while it still ends its calls stops at once, with 130
// (SIGINT) or 143 (SIGTERM).
//
// The package only assembles: what a call is stands in package b2bua, what a
// configuration may say in package configs.
package main

import "os"

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }
