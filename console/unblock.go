package console

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// Paths that change something, and take POST alone.
const (
	unblockPath = "/api/unblock"
	trustPath   = "/api/trust/" // and a verb
	callsPath   = "/api/calls/" // and a call
	sasPath     = "/sas"        // behind it
)

// changes says whether a path is one of them.
func changes(path string) bool {
	return path == unblockPath || strings.HasPrefix(path, trustPath) || strings.HasPrefix(path, callsPath) && strings.HasSuffix(path, sasPath)
}

// maxQuestion bounds the body of a POST, in octets.
const maxQuestion = 4 << 10

// unblockQuestion is the body of POST /api/unblock.
type unblockQuestion struct {
	Source string `json:"source"` // an IP address, or "all"
	User   string `json:"user"`   // "": whoever it claims to be
}

// unblockAnswer says how many entries of the list of the blocked are gone.
type unblockAnswer struct {
	Freed int `json:"freed"`
}

func (s *Server) postUnblock(w http.ResponseWriter, r *http.Request) {
	if s.unblock == nil {
		writeError(w, http.StatusNotFound, "this console frees nobody")
		return
	}
	var q unblockQuestion
	d := json.NewDecoder(io.LimitReader(r.Body, maxQuestion))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil || d.More() {
		writeError(w, http.StatusBadRequest, `the body is not of the form {"source":"192.0.2.1","user":"alice"}`)
		return
	}
	var source netip.Addr
	if q.Source != "all" {
		var err error
		if source, err = netip.ParseAddr(q.Source); err != nil {
			writeError(w, http.StatusBadRequest, `source is neither an IP address nor "all"`)
			return
		}
	}
	freed := s.unblock(source, q.User)
	s.log.Info("unblocked", "source", q.Source, "user", q.User, "freed", freed)
	writeJSON(w, http.StatusOK, unblockAnswer{freed})
}
