package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// healthPath is the one path that needs no token: what probes it (a container
// runtime, a load balancer) should hold no secret, and the answer tells none.
const healthPath = "/healthz"

// refusal is why guard turned a request away; its name is a metric's label.
type refusal struct {
	name   string
	status int
	text   string
}

var (
	refusedHost   = refusal{"host", http.StatusMisdirectedRequest, "the Host of this request is not a name of this console"}
	refusedOrigin = refusal{"origin", http.StatusForbidden, "requests from pages of another origin are refused"}
	refusedMethod = refusal{"method", http.StatusMethodNotAllowed, "only GET and HEAD are answered, and POST where something is changed"}
	refusedType   = refusal{"type", http.StatusUnsupportedMediaType, "a POST is application/json here"}
	refusedBody   = refusal{"body", http.StatusBadRequest, "a request has no body here"}
	refusedToken  = refusal{"token", http.StatusUnauthorized, "this console needs its token: Authorization: Bearer <token>"}
)

var refusals = []refusal{refusedHost, refusedOrigin, refusedMethod, refusedType, refusedBody, refusedToken}

// guard lets only requests through that may be answered. It stands before the
// routes, so that a path added there is closed until it is opened here.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case !s.ownHost(r):
			s.refuse(w, r, refusedHost)
		case !sameOrigin(r):
			s.refuse(w, r, refusedOrigin)
		case changes(r.URL.Path) && r.Method != http.MethodPost:
			h.Set("Allow", http.MethodPost)
			s.refuse(w, r, refusedMethod)
		case !changes(r.URL.Path) && r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			s.refuse(w, r, refusedMethod)
		case r.Method == http.MethodPost && !isJSON(r):
			s.refuse(w, r, refusedType)
		case r.Method != http.MethodPost && r.ContentLength != 0:
			s.refuse(w, r, refusedBody)
		case r.URL.Path != healthPath && !s.authorized(r):
			h.Set("WWW-Authenticate", `Bearer realm="sipward"`)
			s.refuse(w, r, refusedToken)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, why refusal) {
	s.metrics.refused.WithLabelValues(why.name).Inc()
	// Debug: a stranger decides how many of these there are.
	s.log.Debug("console request refused", "reason", why.name, "remote", r.RemoteAddr)
	w.Header().Set("Connection", "close")
	writeError(w, why.status, why.text)
}

// ownHost reports whether Host names this server: a loopback name, a
// configured one, or the very address that the connection reached. A page that
// pointed its own name at this machine has its own name there.
func (s *Server) ownHost(r *http.Request) bool {
	host, ok := splitHost(r.Host)
	if !ok {
		return false
	}
	if isLoopback(host) || s.names[host] {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(local.String())
	return err == nil && ap.Addr().Unmap().WithZone("") == addr.Unmap()
}

// splitHost takes the port and brackets off a Host field; the host is in
// lower case. Anything but host or host:port is not ok.
func splitHost(field string) (host string, ok bool) {
	u, err := url.Parse("http://" + field)
	if err != nil || u.Host != field || u.Hostname() == "" {
		return "", false
	}
	return strings.ToLower(u.Hostname()), true
}

// isLoopback reports whether a host, without port and brackets, is this
// machine and nothing else.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// sameOrigin reports whether no page of another origin makes this request.
// Origin says so for scripts; Sec-Fetch-Site also for images and frames, which
// could not read an answer but could take every place of the event streams.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	if err != nil || len(origins) > 1 || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	return strings.EqualFold(withPort(u.Host, u.Scheme), withPort(r.Host, u.Scheme))
}

// withPort writes out the default port of a scheme.
func withPort(host, scheme string) string {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// isJSON reports whether the body is said to be JSON. A page of another origin
// cannot have a browser say so unless this server allows it, which it never does.
func isJSON(r *http.Request) bool {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	return err == nil && mediaType == "application/json"
}

// authorized reports whether the request carries the token, or none is needed.
func (s *Server) authorized(r *http.Request) bool {
	if !s.hasToken {
		return true
	}
	fields := r.Header.Values("Authorization")
	if len(fields) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimLeft(given, " ")))
	return subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
}
