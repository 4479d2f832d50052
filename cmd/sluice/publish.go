package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) publishCommand() *cobra.Command {
	s := &pb.PublishSettings{}
	var format, template string
	c := &cobra.Command{
		Use:   "publish FILE…",
		Short: "Publish footprints from CSV, XLSX or JSON under a policy template",
		Long: `Publish sends files of parts and their CO2 footprints to the connector, which makes aspects of them, checks each against its schema, and offers them
under a policy template. Every fault is reported with its row and column and with what would be right (exit code 7). A file is published whole or
not at all, unless --partial is given.

--template writes an empty file to fill in, with a row of hints and an example.`,
		Example: `  sluice publish --template csv > footprints.csv
  sluice publish --dry-run footprints.csv
  sluice publish --policy pcf footprints.xlsx`,
	}
	f := c.Flags()
	f.StringVar(&s.Template, "policy", "pcf", "name of the policy template")
	f.BoolVar(&s.Approval, "approval", false, "a contract needs your approval: see sluice negotiations approve")
	f.BoolVar(&s.Partial, "partial", false, "publish what is right even when some rows are wrong")
	f.BoolVar(&s.DryRun, "dry-run", false, "check only")
	f.StringVar(&format, "format", "", "csv, xlsx or json (default: by the name of the file)")
	f.StringVar(&template, "template", "", "write a template to standard output: csv or xlsx")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case template != "" && len(args) > 0:
			return errors.New("--template takes no files")
		case template == "" && len(args) == 0:
			return errors.New("name at least one file, or ask for a --template")
		}
		return nil
	}
	send := a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		s.Participant = slug
		for _, path := range args {
			if err := a.publishFile(ctx, pb.NewAssetServiceClient(conn), path, format, s); err != nil {
				return err
			}
		}
		return nil
	})
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if template != "" {
			if template != "csv" && template != "xlsx" {
				return usage("template %q: want csv or xlsx", template)
			}
			return sheet.Template(a.stdout, template)
		}
		return send(cmd, args)
	}
	return a.remote(c)
}

var formats = map[string]pb.FileFormat{"csv": pb.FileFormat_FILE_FORMAT_CSV, "xlsx": pb.FileFormat_FILE_FORMAT_XLSX, "json": pb.FileFormat_FILE_FORMAT_JSON}

func (a *app) publishFile(ctx context.Context, client pb.AssetServiceClient, path, format string, s *pb.PublishSettings) error {
	if format == "" {
		format = strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")
		if format == "tsv" {
			format = "csv"
		}
		if format == "ndjson" || format == "jsonl" {
			format = "json"
		}
	}
	settings := proto.CloneOf(s)
	var ok bool
	if settings.Format, ok = formats[format]; !ok {
		return usage("%s: the form is not known by the name; say --format csv, xlsx or json", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return usage("%w", err)
	}
	defer file.Close()
	stream, err := client.PublishFile(ctx)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- upload(stream, settings, file) }()
	summary, faults, err := a.news(stream)
	if failed := <-sent; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return a.published(path, summary, faults)
}

// upload sends the settings and the file. When the other side has ended the call, its answer says why: that is no error here.
func upload(stream grpc.BidiStreamingClient[pb.PublishFileRequest, pb.PublishFileResponse], s *pb.PublishSettings, file io.Reader) error {
	err := stream.Send(&pb.PublishFileRequest{Part: &pb.PublishFileRequest_Settings{Settings: s}})
	buffer := make([]byte, 256<<10)
	for err == nil {
		var n int
		n, err = file.Read(buffer)
		if n > 0 {
			if failed := stream.Send(&pb.PublishFileRequest{Part: &pb.PublishFileRequest_Chunk{Chunk: buffer[:n]}}); failed != nil {
				return ended(failed)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		_ = stream.CloseSend()
		return err
	}
	return ended(stream.CloseSend())
}

// ended makes nothing of the io.EOF that a send gives after the other side has ended the call.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// news reads what the connector has to say until it is done.
func (a *app) news(stream grpc.BidiStreamingClient[pb.PublishFileRequest, pb.PublishFileResponse]) (*pb.PublishSummary, []*pb.PublishFault, error) {
	defer a.progressDone()
	var summary *pb.PublishSummary
	var faults []*pb.PublishFault
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if summary == nil {
				return nil, nil, errors.New("the connector ended the call without a summary")
			}
			return summary, faults, nil
		}
		if err != nil {
			return nil, nil, failure(err)
		}
		switch news := m.GetNews().(type) {
		case *pb.PublishFileResponse_Progress:
			if total := news.Progress.GetTotal(); total > 0 {
				a.progress("%d of %d rows", news.Progress.GetDone(), total)
			} else {
				a.progress("%d rows", news.Progress.GetDone())
			}
		case *pb.PublishFileResponse_Fault:
			faults = append(faults, news.Fault)
		case *pb.PublishFileResponse_Summary:
			summary = news.Summary
		}
	}
}

func (a *app) published(path string, summary *pb.PublishSummary, faults []*pb.PublishFault) error {
	if a.json {
		items := make([]proto.Message, len(faults))
		for i, f := range faults {
			items[i] = f
		}
		parts := make([]string, len(items))
		for i, m := range items {
			text, err := encode(m)
			if err != nil {
				return err
			}
			parts[i] = string(text)
		}
		text, err := encode(summary)
		if err != nil {
			return err
		}
		if err := a.indented([]byte(`{"summary":` + string(text) + `,"faults":[` + strings.Join(parts, ",") + `]}`)); err != nil {
			return err
		}
	} else {
		for _, f := range faults {
			fmt.Fprintln(a.stderr, faultLine(path, f))
		}
		fmt.Fprintf(a.stdout, "%s: %d rows, %d published, %d faults\n", path, summary.GetRows(), summary.GetPublished(), summary.GetFaults())
	}
	if summary.GetFaults() > 0 {
		return &exitError{code: exitWrong, silent: true, err: errors.New("the file has faults")}
	}
	return nil
}

// faultLine is a fault as compilers print theirs.
func faultLine(path string, f *pb.PublishFault) string {
	place := path
	if f.GetRow() > 0 {
		place += fmt.Sprintf(":%d", f.GetRow())
	}
	if f.GetColumn() != "" {
		place += ": " + f.GetColumn()
	}
	text := place + ": " + f.GetProblem()
	if f.GetValue() != "" {
		text += fmt.Sprintf(", have %q", f.GetValue())
	}
	if f.GetWant() != "" {
		text += ", want " + f.GetWant()
	}
	return printable(text)
}
