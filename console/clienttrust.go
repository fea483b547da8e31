package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/sipward/sipward/b2bua"
)

// post sends a JSON body and decodes the answer.
func (c *Client) post(ctx context.Context, path string, question, into any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return c.postBody(ctx, path, bytes.NewReader(body), into)
}

func (c *Client) postBody(ctx context.Context, path string, body io.Reader, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.do(req, "application/json")
	if err != nil {
		return err
	}
	return c.decode(resp, into)
}

// SaySAS tells a call what somebody says about its short authentication string.
func (c *Client) SaySAS(ctx context.Context, call string, s b2bua.Said) (SASAnswer, error) {
	q := sasQuestion{Code: s.Code}
	if s.Equal || s.Different {
		q.Equal = &s.Equal
	}
	var a SASAnswer
	err := c.post(ctx, "/api/calls/"+url.PathEscape(call)+"/sas", q, &a)
	return a, err
}

// Export implements [Trust].
func (c *trustClient) Export(w io.Writer) error {
	ctx, cancel := context.WithTimeout(c.ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, "/api/trust", "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if n, err := io.Copy(w, io.LimitReader(resp.Body, maxImport+1)); err != nil || n > maxImport {
		return fmt.Errorf("the answer of %s broke off or is too long: %v", c.base, err)
	}
	return nil
}

// Trust is what the sipward remembers; ctx bounds all of its methods.
func (c *Client) Trust(ctx context.Context) Trust { return &trustClient{c, ctx} }

type trustClient struct {
	*Client
	ctx context.Context
}

// Import implements [Trust].
func (c *trustClient) Import(r io.Reader) (int, error) {
	var a importAnswer
	err := c.postBody(c.ctx, "/api/trust/import", r, &a)
	return a.Keys, err
}

// Confirm implements [Trust].
func (c *trustClient) Confirm(identity, key string) error {
	return c.post(c.ctx, "/api/trust/confirm", trustQuestion{Identity: identity, Key: key}, &struct{}{})
}

// Forget implements [Trust].
func (c *trustClient) Forget(identity, key string) error {
	return c.post(c.ctx, "/api/trust/forget", trustQuestion{Identity: identity, Key: key}, &struct{}{})
}

// Block implements [Trust].
func (c *trustClient) Block(identity, keyType, key string, blocked bool) error {
	verb := "unblock"
	if blocked {
		verb = "block"
	}
	return c.post(c.ctx, "/api/trust/"+verb, trustQuestion{Identity: identity, Key: key, KeyType: keyType}, &struct{}{})
}
