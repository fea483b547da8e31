// Package firsttime does what somebody does who has just heard of sipward: it
// takes a fresh clone, builds it, runs it, and knows nothing but what the program
// then prints.
//
//	bin, how, err := firsttime.Build(ctx, dir)
//	agent, err := firsttime.Run(ctx, bin, home)
//	... agent.Told.Server, agent.Told.Echo ...
//
// The tests that use it bring the softphone: one of package demo in cmd/sipward,
// a real one in test/interop.
package firsttime
