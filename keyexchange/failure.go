package keyexchange

import (
	"errors"
	"fmt"
)

// Failure is every error that points to an attack (protocol §2, "Failures").
// The exchange it comes from is over and holds no key any more.
type Failure struct {
	// Attribute is where the fault was seen: dh-init, dh-resp, dh-fin or dh-sig.
	Attribute string
	// Reason is a sentence for a person, without a full stop. It holds no
	// octet that the peer chose and no secret.
	Reason string
}

// Error gives the attribute and the reason.
func (f *Failure) Error() string { return f.Attribute + ": " + f.Reason }

var (
	// ErrNoCommon says that no group or no suite is common to both ends. It is
	// not an attack and reads as 'peer without dh-srtp' (protocol §2, "Choice").
	ErrNoCommon = errors.New("peer without dh-srtp: no group or suite in common")

	// ErrAbsent says that the message had no attribute of version 1 to take.
	// errors.Is(ErrAbsent, ErrNoCommon) holds, so that a caller who treats all
	// peers without dh-srtp alike has one error to ask for.
	ErrAbsent = fmt.Errorf("no dh-srtp attribute of version 1: %w", ErrNoCommon)

	// ErrUnconfirmed is the error of an exchange whose peer sent no packet
	// that verified within 5 s of dh-fin (protocol §3, "Confirmation").
	ErrUnconfirmed = errors.New("no protected packet of the peer came within 5 s of dh-fin")

	// ErrErased is the error of an exchange after Erase.
	ErrErased = errors.New("keyexchange: the exchange was erased")

	// ErrNoKeys is the error of asking for keys before dh-resp (initiator) or
	// dh-fin (responder) was taken, and of every other step out of its order.
	ErrNoKeys = errors.New("keyexchange: step out of order, the exchange is not that far")
)

// errOtherVersion marks a value whose version is well formed and not 1: the
// attribute reads as absent (protocol §2, "Form").
var errOtherVersion = errors.New("keyexchange: attribute of another version")

func failure(attribute, reason string) *Failure {
	return &Failure{Attribute: attribute, Reason: reason}
}

// absentOr turns the parser's mark of another version into ErrAbsent and
// leaves every other error as it is.
func absentOr(err error) error {
	if errors.Is(err, errOtherVersion) {
		return ErrAbsent
	}
	return err
}
