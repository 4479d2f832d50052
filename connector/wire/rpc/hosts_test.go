package rpc_test

import (
	"net/http"
	"net/url"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func TestOnlyItsOwnNamesReachTheAPI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own, err := url.Parse(b.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host, site string
		want             int
	}{
		{"its address", own.Host, "", 200},
		{"this machine's name for itself", "localhost:" + own.Port(), "", 200},
		{"the same in capitals", "LOCALHOST:" + own.Port(), "", 200},
		{"another loopback address", "127.0.0.2:" + own.Port(), "", 200},
		{"the loopback address of IPv6", "[::1]:" + own.Port(), "", 200},
		{"a name that is listed", "console.example", "", 200},
		{"a name that is listed, behind another port", "console.example:8080", "", 200},
		{"a name that was rebound to the address", "evil.example:" + own.Port(), "", 421},
		{"a name that begins with one of ours", "localhost.evil.example:" + own.Port(), "", 421},
		{"a name that ends with one of ours", "evil.console.example", "", 421},
		{"a name of this machine on another port", "localhost:1", "", 421},
		{"a name of this machine without a port", "localhost", "", 421},
		{"an address of another machine", "192.0.2.1:" + own.Port(), "", 421},
		{"a page of ours", own.Host, "same-origin", 200},
		{"an address typed into a browser", own.Host, "none", 200},
		{"a page of another site", own.Host, "cross-site", 403},
		{"a page of another port of this machine", own.Host, "same-site", 403},
		{"a page of something unknown", own.Host, "else", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "GET", b.http.URL+"/v1/participants/aurora/assets", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			req.Header.Set("Authorization", "Bearer "+b.operator)
			if tt.site != "" {
				req.Header.Set("Sec-Fetch-Site", tt.site)
			}
			res, err := b.http.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != tt.want {
				t.Errorf("got %d, want %d", res.StatusCode, tt.want)
			}
		})
	}
	conn, err := grpc.NewClient(own.Host, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("evil.example:"+own.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := pb.NewAssetServiceClient(conn).ListAssets(as(t.Context(), b.operator), &pb.ListAssetsRequest{Participant: "aurora"}); err == nil {
		t.Error("gRPC answered to the name of another")
	}
}
