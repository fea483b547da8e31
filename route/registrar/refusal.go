package registrar

import (
	"fmt"
	"time"
)

// Refusal is the error of every request that is refused, with what the answer to
// it says.
type Refusal struct {
	Status     int           // status code of the answer: 400, 403, 423, 500 or 503
	Reason     string        // a sentence
	MinExpires time.Duration // of a 423: the Min-Expires header, in whole seconds
	Err        error         // of a 500 that is not the phone's fault: the error of the keeper
}

func (e *Refusal) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

// Unwrap returns the keeper's error.
func (e *Refusal) Unwrap() error { return e.Err }

func refuse(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: fmt.Sprintf(format, args...)}
}
