package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/sluice-connector/sluice/policy/decisionlog"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) logCommand() *cobra.Command {
	return group("log", "The decision log: export it from a connector, check and read it without one", a.logExport(), a.logVerify(), a.logShow())
}

func (a *app) logExport() *cobra.Command {
	c := &cobra.Command{
		Use:   "export DIR",
		Short: "Write an export of the log into a directory that does not exist yet",
		Long: `Export fetches the whole decision log of a participant into the directory DIR. The directory appears whole or not at all, and every byte in it is
accounted for: "sluice log verify" checks it with the public key alone.`,
		Example: `  sluice log export aurora-log
  sluice log verify --key "$KEY" aurora-log`,
		Args: cobra.ExactArgs(1),
	}
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		client := pb.NewDecisionServiceClient(conn)
		l, err := client.GetLog(ctx, &pb.GetLogRequest{Participant: slug})
		if err != nil {
			return err
		}
		stream, err := client.ExportLog(ctx, &pb.ExportLogRequest{Participant: slug})
		if err != nil {
			return err
		}
		files, err := a.unpack(args[0], &download{stream: stream})
		if err != nil {
			return err
		}
		if a.json {
			return a.value(map[string]any{"dir": args[0], "files": files, "size": l.GetSize(), "key": l.GetKey()})
		}
		a.fields("directory", args[0], "files", strconv.Itoa(files), "records", "at least "+strconv.FormatUint(l.GetSize(), 10), "key", l.GetKey())
		return nil
	})
	return a.remote(c)
}

// download reads the chunks of a stream as one file.
type download struct {
	stream grpc.ServerStreamingClient[pb.ExportLogResponse]
	rest   []byte
}

func (d *download) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		m, err := d.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return 0, io.EOF
			}
			return 0, failure(err)
		}
		d.rest = m.GetChunk()
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Bounds of an export on its way in: whoever answers must not fill the disk with names or paths of its choice.
const (
	maxExportFiles = 1_000_000
	maxExportFile  = 64 << 20
)

// unpack writes an archive into a new directory.
func (a *app) unpack(dir string, r io.Reader) (files int, err error) {
	if _, err := os.Lstat(dir); err == nil {
		return 0, &exitError{code: exitConflict, err: fmt.Errorf("%s is there already: name a directory that is not", dir)}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), ".export-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxExportFile || files >= maxExportFiles || !filepath.IsLocal(h.Name) {
			return 0, fmt.Errorf("the archive holds %q, which no export does", printable(h.Name))
		}
		if err := extract(root, h.Name, archive); err != nil {
			return 0, err
		}
		files++
		a.progress("%d files", files)
	}
	a.progressDone()
	if files == 0 {
		return 0, errors.New("the connector sent an empty archive")
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return 0, err
	}
	return files, os.Rename(tmp, dir)
}

func extract(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, r)
	return errors.Join(err, file.Close())
}

func (a *app) logVerify() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check an export with the public key alone; no connector is needed",
		Long: `Verify recomputes every file of the export in DIR and compares it byte for byte. It names the entry or the file that is wrong, and fails on a file too
many or too few (exit code 7).

The key must come from the auditor, not from the export: --key takes it as text or as a file. Without it the same is checked against the key
that the export brings along, and the answer says "unpinned": that proves the export consistent, not whose log it is.`,
		Example: `  sluice log verify --key 'connector.aurora.example/aurora+1a2b3c4d+AQ…' aurora-log
  sluice log verify --key aurora.vkey aurora-log`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&key, "key", "", "the log's public key, or a file that holds it")
	c.RunE = func(_ *cobra.Command, args []string) error {
		report, err := decisionlog.Verify(args[0], key)
		if err != nil {
			return a.damage(args[0], err)
		}
		if a.json {
			return a.value(map[string]any{"ok": true, "origin": report.Origin, "size": report.Size, "root": report.Root, "key": report.Key,
				"pinned": report.Pinned, "waiting": report.Waiting, "files": report.Files, "recovered": append([]uint64{}, report.Recovered...)})
		}
		trust := a.paint(a.stdout, green, "pinned")
		if !report.Pinned {
			trust = a.paint(a.stdout, yellow, "unpinned") + ": the key came from the export itself"
		}
		a.fields("verified", args[0], "origin", report.Origin, "records", strconv.FormatUint(report.Size, 10), "root", report.Root,
			"waiting", strconv.Itoa(report.Waiting), "files", strconv.Itoa(report.Files), "key", report.Key)
		fmt.Fprintln(a.stdout, trust)
		for _, at := range report.Recovered {
			fmt.Fprintln(a.stdout, a.paint(a.stdout, yellow, fmt.Sprintf("record %d says that the log went on from a backup; \"sluice log show\" tells from where", at)))
		}
		return nil
	}
	return c
}

// damage tells what is wrong with an export.
func (a *app) damage(dir string, err error) error {
	var d *decisionlog.Damage
	if !errors.As(err, &d) {
		return usage("%s: %w", dir, err)
	}
	if a.json {
		out := map[string]any{"ok": false, "file": d.File, "problem": d.Err.Error()}
		if d.Entry >= 0 {
			out["entry"] = d.Entry
		}
		if err := a.value(out); err != nil {
			return err
		}
		return &exitError{code: exitWrong, silent: true, err: err}
	}
	return &exitError{code: exitWrong, err: errors.New(printable(err.Error()))} // a file's name may have lines of its own
}

func (a *app) logShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show DIR",
		Short: "Print the records of an export",
		Long: `Show prints the records of an export in the order of the log, one a line. Values that could name someone are salted commitments; what is plain is
shown. Show does not verify: run "sluice log verify" first.`,
		Example: `  sluice log show aurora-log
  sluice log show --json aurora-log | jq 'select(.effect == "deny")'`,
		Args: cobra.ExactArgs(1),
	}
	denied := c.Flags().Bool("denied", false, "only refusals")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
			return usage("%s is no directory", args[0])
		}
		index := -1
		for r, err := range decisionlog.Records(args[0]) {
			if err != nil {
				return &exitError{code: exitWrong, err: err}
			}
			index++
			if *denied && r.Effect != "deny" {
				continue
			}
			if err := a.record(index, r); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (a *app) record(index int, r decisionlog.Record) error {
	if a.json {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", plain(text))
		return err
	}
	what := r.Door
	if r.Action != nil {
		what = r.Action.Code
	}
	effect := printable(r.Effect)
	if effect == "deny" {
		effect = a.paint(a.stdout, red, effect)
	}
	if r.Recovered != nil {
		what = "from " + r.Recovered.From
	}
	line := fmt.Sprintf("%6d  %s  %-15s %-20s %s", index, r.When().Format("2006-01-02 15:04:05Z"), printable(r.Kind), printable(what), effect)
	var against []string
	for _, reason := range r.Reasons {
		if reason.Outcome == "violated" || reason.Outcome == "error" {
			against = append(against, reason.Code+" at "+reason.Clause)
		}
	}
	if r.Error != "" {
		against = append(against, r.Error)
	}
	if len(against) > 0 {
		line += "  " + printable(strings.Join(against, ", "))
	}
	_, err := fmt.Fprintln(a.stdout, strings.TrimRight(line, " "))
	return err
}
