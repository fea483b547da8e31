// Package mitm is a man in the middle between two sipwards, for tests: he has the
// network between them in his hands and is told by the test what to do with it.
//
//	man := mitm.New(network, outsideA, outsideB)
//	man.On(mitm.Answers, mitm.Drop("dh-sig"))           // changes messages that pass
//	man.Impersonate(mitm.Deceit{})                      // runs exchanges of his own with both
//	man.Kept(mitm.Answers)                              // has every message that ever passed
//	man.Fork(mitm.Forged{At: hisAddress})               // answers beside the callee
//	man.On(man.Rekeying(mitm.Answers), mitm.DropAll)    // only where keys are replaced
//	man.Hold(mitm.FromA, true)                          // keeps media back, to Play it later
//
// A [Man] sits on a [memnet.Network], and on its streams where the houses speak SIP
// over TCP. A message that crosses between the houses'
// outside addresses meets his [Change]s in their order, each a small function that
// fits with the others; media crosses as it is, or, where he has keys of his own
// with both houses, out of those of one into those of the other, which he listens
// to as he goes.
//
// Whatever he does, he counts what would be the end of the secret: packets that
// leave a house on the outside and hold speech in clear ([Man.Clear]). What speech
// is he learns from the wires inside, on which the phones speak plainly.
//
// He knows no secret of the sipwards and holds himself to what the wire gives him.
package mitm
