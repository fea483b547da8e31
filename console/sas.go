package console

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/sipward/sipward/b2bua"
)

// sasQuestion is the body of POST /api/calls/{id}/sas: exactly one of the two.
type sasQuestion struct {
	Equal *bool  `json:"equal,omitempty"` // both people have read the same, or not
	Code  string `json:"code,omitempty"`  // the six digits that the other person has read out
}

// SASAnswer is what a call is worth once somebody has compared the strings. It
// does not tell the own code: who types one has heard it from the other end.
type SASAnswer struct {
	Trust string `json:"trust"`
	Says  string `json:"says"`
}

func (s *Server) postSAS(w http.ResponseWriter, r *http.Request) {
	if s.saySAS == nil {
		writeError(w, http.StatusNotFound, "this console takes no word about calls")
		return
	}
	var q sasQuestion
	d := json.NewDecoder(io.LimitReader(r.Body, maxQuestion))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || d.More() {
		writeError(w, http.StatusBadRequest, `the body is not of the form {"equal":true}, {"equal":false} or {"code":"123456"}`)
		return
	}
	v, err := s.saySAS(r.Context(), r.PathValue("id"), b2bua.Said{Equal: q.Equal != nil && *q.Equal, Different: q.Equal != nil && !*q.Equal, Code: q.Code})
	switch {
	case errors.Is(err, b2bua.ErrNoCall):
		writeError(w, http.StatusNotFound, err.Error())
	case errors.Is(err, b2bua.ErrSayWhat):
		writeError(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, b2bua.ErrNoSAS), errors.Is(err, b2bua.ErrSaidNo), errors.Is(err, b2bua.ErrWrongCode):
		writeError(w, http.StatusConflict, err.Error())
	case err != nil:
		s.log.Error("what was confirmed could not be kept", "error", err)
		writeError(w, http.StatusInternalServerError, "what was confirmed could not be kept; the log says why")
	default:
		writeJSON(w, http.StatusOK, SASAnswer{v.Trust, v.Says})
	}
}
