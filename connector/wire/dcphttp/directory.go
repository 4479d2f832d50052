package dcphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// maxPacked bounds a directory on its way; directory.MaxBytes what comes out of it.
const maxPacked = 16 << 20

// Place is where the directory of an ecosystem is, and what is shown there.
type Place struct {
	URL   string          // "/bpn-directory" follows it
	Scope string          // of the credential that proves membership
	DID   participant.DID // of who keeps it: the proof is made for it; empty: for the holder itself, as the first such directories want it
}

// DirectoryClient gets directories with proof of membership. It implements directory.Source.
type DirectoryClient struct {
	HTTP   Doer
	Holder *credential.Holder
	Where  func(participant.Participant) (Place, bool)
}

// Directory implements directory.Source.
func (c DirectoryClient) Directory(ctx context.Context, local participant.Participant) (io.ReadCloser, error) {
	const op = "dcphttp.Directory"
	place, ok := c.Where(local)
	if !ok {
		return nil, fault.New(op, fault.NotFound, "no directory of numbers is configured for this participant: name the DID instead")
	}
	proof, err := c.proof(ctx, local, place)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(place.URL, "/")+"/bpn-directory", nil)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	r.Header.Set("Authorization", "Bearer "+proof)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "gzip")
	status, header, body, err := c.HTTP.Do(r, maxPacked)
	switch {
	case err != nil:
		return nil, fault.Wrap(op, fault.Unavailable, err)
	case status != http.StatusOK:
		return nil, fault.New(op, fault.Unavailable, "the directory answers %d", status)
	case !strings.EqualFold(header.Get("Content-Encoding"), "gzip"):
		return io.NopCloser(bytes.NewReader(body)), nil
	}
	// One stream, and nothing behind it.
	packed := bytes.NewReader(body)
	inflated, err := gzip.NewReader(packed)
	if err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Unavailable, Reason: "the directory cannot be read", Err: err}
	}
	inflated.Multistream(false)
	return whole{inflated, packed}, nil
}

// whole is one gzip stream; bytes behind its end are an error at its end.
type whole struct {
	*gzip.Reader
	packed *bytes.Reader
}

func (w whole) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if errors.Is(err, io.EOF) && w.packed.Len() > 0 {
		err = fmt.Errorf("%d bytes follow the compressed directory", w.packed.Len())
	}
	return n, err
}

// proof is a presentation of the membership credential alone.
func (c DirectoryClient) proof(ctx context.Context, local participant.Participant, place Place) (string, error) {
	const op = "dcphttp.proof"
	to := place.DID
	if to == "" {
		to = local.DID
	}
	access, err := c.Holder.Grant(local, to, []string{place.Scope})
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	shown, err := c.Holder.Present(ctx, local, participant.Peer{DID: to, AccessToken: access}, []string{place.Scope})
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	if len(shown) == 0 {
		return "", fault.New(op, fault.Unavailable, "the wallet holds no valid credential of membership to show to the directory")
	}
	return shown[0], nil
}

// Numbers lists the directory that a participant keeps.
type Numbers interface {
	Numbers(ctx context.Context, p participant.ID, r page.Request) (page.Of[directory.Entry], error)
}

// DirectoryConfig carries what a DirectoryServer is made of. All fields are required.
type DirectoryConfig struct {
	Participants Participants
	Numbers      Numbers
	// Member returns who shows the presentation, if it proves membership in the participant's ecosystem. An ecosystem without numbers is NotFound.
	Member func(ctx context.Context, local participant.Participant, presentation string) (participant.DID, error)
	Log    *slog.Logger
}

// DirectoryServer serves the directories that hosted participants keep, to members.
type DirectoryServer struct{ cfg DirectoryConfig }

// NewDirectoryServer returns a DirectoryServer.
func NewDirectoryServer(cfg DirectoryConfig) *DirectoryServer { return &DirectoryServer{cfg} }

// Mount registers the directory of each participant.
func (s *DirectoryServer) Mount(mux Mux) {
	mux.Handle("GET /{slug}/directory/bpn-directory", http.HandlerFunc(s.serve))
}

// serve answers with the whole directory, compressed. Who proves nothing is told the same whether the participant keeps one, or exists.
func (s *DirectoryServer) serve(w http.ResponseWriter, r *http.Request) {
	const op = "dcphttp.directory"
	token, err := identity.Bearer(r.Header.Values("Authorization"))
	var local participant.Participant
	var reader participant.DID
	if err == nil {
		local, err = s.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
	}
	if err == nil {
		reader, err = s.cfg.Member(r.Context(), local, token)
	}
	if err != nil {
		s.cfg.Log.InfoContext(r.Context(), "directory refused", slog.Any("error", err))
		problem.Write(w, r, fault.New(op, fault.Unauthenticated, "the caller is not known"))
		return
	}
	if err := gate.Known(r.Context(), string(reader)); err != nil {
		problem.Write(w, r, err)
		return
	}
	// Read before the answer begins: what cannot be read whole is no directory.
	var packed bytes.Buffer
	if err := s.write(r.Context(), &packed, local); err != nil {
		problem.Write(w, r, fault.Wrap(op, fault.Unavailable, err))
		return
	}
	s.cfg.Log.InfoContext(r.Context(), "directory read", slog.String("participant", local.Slug), slog.String("peer", string(reader)))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(packed.Bytes())
}

func (s *DirectoryServer) write(ctx context.Context, w io.Writer, local participant.Participant) error {
	out := gzip.NewWriter(w)
	next, glue := page.Key{}, "{"
	for {
		some, err := s.cfg.Numbers.Numbers(ctx, local.ID, page.Request{Limit: page.MaxLimit, After: next})
		if err != nil {
			return err
		}
		for _, e := range some.Items {
			did, err := json.Marshal(string(e.DID))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(out, "%s%q:%s", glue, e.Number, did); err != nil {
				return err
			}
			glue = ","
		}
		if next = some.Next; next.ID == "" {
			break
		}
	}
	if glue == "{" {
		_, _ = io.WriteString(out, "{")
	}
	_, _ = io.WriteString(out, "}")
	return out.Close()
}
