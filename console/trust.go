package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Trust is what is remembered of peers: pinned keys, confirmations, blocks.
type Trust interface {
	// Export writes everything as one JSON object, which Import reads.
	Export(io.Writer) error
	// Import takes it over beside what is there, and says how many keys came.
	Import(io.Reader) (keys int, err error)
	// Confirm notes that somebody has checked a key of an identity. The key may be
	// cut short where that leaves no doubt, and left out where there is one only.
	Confirm(identity, key string) error
	// Forget drops everything about an identity, or with a key only that one.
	Forget(identity, key string) error
	// Block ends calls with an identity, or where key is set with a key, whomever it
	// speaks for; or lets them take place again.
	Block(identity, keyType, key string, blocked bool) error
}

// ErrNotRemembered is what methods of Trust return of something that is not there.
var ErrNotRemembered = errors.New("nothing is remembered of it")

// maxImport bounds the body of POST /api/trust/import, in octets.
const maxImport = 16 << 20

// trustQuestion is the body of POST /api/trust/confirm, forget, block and unblock.
type trustQuestion struct {
	Identity string `json:"identity,omitempty"` // sip:user@host
	Key      string `json:"key,omitempty"`
	KeyType  string `json:"key_type,omitempty"` // of a key that is blocked: ed25519 or openpgp
}

type importAnswer struct {
	Keys int `json:"keys"`
}

func (s *Server) getTrust(w http.ResponseWriter, _ *http.Request) {
	if s.trust == nil {
		writeError(w, http.StatusNotFound, "this console remembers nobody")
		return
	}
	var body bytes.Buffer
	if err := s.trust.Export(&body); err != nil {
		writeError(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body.Bytes())
}

func (s *Server) postTrust(w http.ResponseWriter, r *http.Request) {
	if s.trust == nil {
		writeError(w, http.StatusNotFound, "this console remembers nobody")
		return
	}
	verb := r.PathValue("verb")
	if verb == "import" {
		keys, err := s.trust.Import(io.LimitReader(r.Body, maxImport))
		if err != nil {
			writeError(w, http.StatusBadRequest, err.Error())
			return
		}
		s.log.Info("trust imported", "keys", keys)
		writeJSON(w, http.StatusOK, importAnswer{keys})
		return
	}
	var q trustQuestion
	d := json.NewDecoder(io.LimitReader(r.Body, maxQuestion))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || d.More() {
		writeError(w, http.StatusBadRequest, `the body is not of the form {"identity":"sip:bob@b.example","key":"..."}`)
		return
	}
	var err error
	switch verb {
	case "confirm":
		err = s.trust.Confirm(q.Identity, q.Key)
	case "forget":
		err = s.trust.Forget(q.Identity, q.Key)
	case "block", "unblock":
		err = s.trust.Block(q.Identity, q.KeyType, q.Key, verb == "block")
	default:
		writeError(w, http.StatusNotFound, "no such path; there are /api/trust/confirm, forget, block, unblock and import")
		return
	}
	switch {
	case errors.Is(err, ErrNotRemembered):
		writeError(w, http.StatusNotFound, err.Error())
	case err != nil:
		writeError(w, http.StatusBadRequest, err.Error())
	default:
		s.log.Info("trust changed", "how", verb, "identity", q.Identity, "key", q.Key)
		writeJSON(w, http.StatusOK, struct{}{})
	}
}
