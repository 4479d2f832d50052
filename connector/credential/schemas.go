package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	maxSchema      = 64 << 10
	maxSchemas     = 256 // remembered
	maxPerVC       = 4   // schemas of one credential
	schemaAccept   = "application/schema+json, application/json"
	schemaLife     = time.Hour
	schemaFailure  = 10 * time.Second
	schemaPatience = 10 * time.Second
)

// SchemasConfig carries what Schemas is made of. Now, Calls and Fetch are required.
type SchemasConfig struct {
	// Allow lists what may be fetched: exact URLs, and those that end in a slash stand for what lies below them.
	Allow []string
	Fetch Fetch
	Calls *Calls
	Now   func() time.Time
}

// Schemas checks credentials against the JSON schemas that they name: of draft 4 to 2020-12, each on its own, for nothing that a schema refers
// to is ever fetched. It is safe for concurrent use.
type Schemas struct {
	cfg   SchemasConfig
	group singleflight.Group

	mu    sync.Mutex
	known map[string]compiled
}

type compiled struct {
	schema  *jsonschema.Schema
	whole   bool // it is about the credential, not about its subject
	err     error
	expires time.Time
}

// NewSchemas returns Schemas.
func NewSchemas(cfg SchemasConfig) *Schemas {
	return &Schemas{cfg: cfg, known: map[string]compiled{}}
}

// check holds a credential to every schema that it names.
func (s *Schemas) check(ctx context.Context, r read) error {
	list := ijson.Many(r.members.Schema)
	if len(list) > maxPerVC {
		return refuse(codeSchemaType, "%d schemas", len(list))
	}
	if len(list) == 0 && len(r.members.Schema) > 0 && string(r.members.Schema) != "null" {
		return refuse(codeSchemaType, "an empty list")
	}
	for _, raw := range list {
		var named struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		}
		if len(raw) == 0 || raw[0] != '{' || ijson.Bind(raw, &named) != nil || named.ID == "" {
			return refuse(codeSchemaType, "want an object with id and type")
		}
		if named.Type != "JsonSchema" && named.Type != "JsonSchemaValidator2018" {
			return refuse(codeSchemaType, "%.64q is not known", named.Type)
		}
		c, err := s.get(ctx, named.ID)
		if err != nil {
			return err
		}
		// Version 2 of the standard checks the credential, what is in use checks its subject. A schema that speaks of the subject at its root
		// would find nothing in a subject, and all would pass.
		values := r.subjects
		if c.whole {
			values = []json.RawMessage{r.body}
		}
		for _, raw := range values {
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			if err == nil {
				err = c.schema.Validate(value)
			}
			if err != nil {
				return refuse(codeSchemaViolated, "%s: %w", named.ID, err)
			}
		}
	}
	return nil
}

func (s *Schemas) allowed(url string) bool {
	return slices.ContainsFunc(s.cfg.Allow, func(a string) bool {
		if rest, below := strings.CutPrefix(url, a); below && strings.HasSuffix(a, "/") {
			return !strings.ContainsAny(rest, `\%#?`) && !slices.ContainsFunc(strings.Split(rest, "/"), func(p string) bool { return p == "" || p == "." || p == ".." })
		}
		return url == a
	})
}

func (s *Schemas) get(ctx context.Context, url string) (compiled, error) {
	if c, ok := s.cached(url); ok {
		return c, c.err
	}
	if !s.allowed(url) {
		return compiled{}, refuse(codeSchemaUnknown, "%.200q", url)
	}
	got, err, _ := s.group.Do(url, func() (any, error) {
		if c, ok := s.cached(url); ok {
			return c, nil
		}
		if err := s.cfg.Calls.spend(ctx, CallSchema); err != nil {
			return compiled{}, err
		}
		// What is fetched serves everybody who waits.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), schemaPatience)
		defer cancel()
		c := compiled{}
		if got, err := s.cfg.Fetch(ctx, url, schemaAccept, maxSchema); err != nil {
			c.err = refuse(codeSchemaFetch, "%s: %w", url, err)
		} else {
			c = compileSchema(url, got.Body)
		}
		c.expires = s.cfg.Now().Add(schemaLife)
		if c.err != nil {
			c.expires = s.cfg.Now().Add(schemaFailure)
		}
		s.keep(url, c)
		return c, nil
	})
	if err != nil {
		return compiled{}, err
	}
	c := got.(compiled)
	return c, c.err
}

func (s *Schemas) cached(url string) (compiled, bool) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.known[url]
	return c, ok && now.Before(c.expires)
}

func (s *Schemas) keep(url string, c compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.known {
		if len(s.known) < maxSchemas {
			break
		}
		delete(s.known, other)
	}
	s.known[url] = c
}

// nothing is the loader of a compiler that may fetch nothing.
type nothing struct{}

// Load implements jsonschema.URLLoader.
func (nothing) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is another document, and none is fetched", url)
}

// compileSchema reads a schema; its id is the URL that it was named by, whatever it says of itself.
func compileSchema(url string, text []byte) compiled {
	fail := func(err error) compiled { return compiled{err: refuse(codeSchemaSyntax, "%s: %w", url, err)} }
	lim := ijson.DefaultLimits()
	lim.MaxBytes = maxSchema
	if err := ijson.Check(text, lim); err != nil {
		return fail(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fail(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(nothing{})
	if err := compiler.AddResource(url, doc); err != nil {
		return fail(err)
	}
	schema, err := compiler.Compile(url)
	if err != nil {
		return fail(err)
	}
	return compiled{schema: schema, whole: aboutCredential(doc)}
}

// aboutCredential reports a schema whose root speaks of the subject as a member.
func aboutCredential(doc any) bool {
	root, _ := doc.(map[string]any)
	properties, _ := root["properties"].(map[string]any)
	if _, speaks := properties["credentialSubject"]; speaks {
		return true
	}
	required, _ := root["required"].([]any)
	return slices.Contains(required, any("credentialSubject"))
}
