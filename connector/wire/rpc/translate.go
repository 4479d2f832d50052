package rpc

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func stampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func participantOut(p participant.Participant, key string) *pb.Participant {
	return &pb.Participant{Slug: p.Slug, Did: string(p.DID), Name: p.Name, Created: stampOf(p.Created), LogKey: key}
}

var roleNames = map[pb.Role]string{pb.Role_ROLE_OPERATOR: Operator, pb.Role_ROLE_READER: Reader, pb.Role_ROLE_AUDITOR: Auditor}

func roleOut(name string) pb.Role {
	for role, n := range roleNames {
		if n == name {
			return role
		}
	}
	return pb.Role_ROLE_UNSPECIFIED
}

func tokenOut(t store.Token, slug string) *pb.Token {
	return &pb.Token{Id: t.Hash, Participant: slug, Role: roleOut(t.Role), Label: t.Label, Created: stampOf(t.Created), Expires: stampOf(t.Expires)}
}

// assetIn returns the asset and the content that came with it, nil when none did.
func assetIn(m *pb.Asset) (catalog.Asset, *catalog.Content) {
	a := catalog.Asset{ID: m.GetId(), Version: m.GetVersion(), Title: m.GetTitle(), Type: m.GetType(), APIVersion: m.GetApiVersion(),
		SemanticID: m.GetSemanticId(), Properties: m.GetProperties()}
	switch source := m.GetSource().(type) {
	case *pb.Asset_Upstream:
		a.Address = catalog.Address{BaseURL: source.Upstream.GetBaseUrl(), SecretRef: source.Upstream.GetSecretRef()}
	case *pb.Asset_Content:
		c := source.Content
		a.Address = catalog.Address{Content: c.GetDigest(), MediaType: c.GetMediaType()}
		if len(c.GetData()) > 0 {
			a.Address.Content = catalog.DigestOf(c.GetData())
			return a, &catalog.Content{Digest: a.Address.Content, MediaType: c.GetMediaType(), Bytes: c.GetData()}
		}
	}
	return a, nil
}

func assetOut(a catalog.Asset) *pb.Asset {
	m := &pb.Asset{Id: a.ID, Version: a.Version, Title: a.Title, Type: a.Type, ApiVersion: a.APIVersion, SemanticId: a.SemanticID,
		Properties: a.Properties, Created: stampOf(a.Created), Updated: stampOf(a.Updated)}
	switch {
	case a.Address.BaseURL != "":
		m.Source = &pb.Asset_Upstream{Upstream: &pb.Upstream{BaseUrl: a.Address.BaseURL, SecretRef: a.Address.SecretRef}}
	case a.Address.Content != "":
		m.Source = &pb.Asset_Content{Content: &pb.StoredContent{Digest: a.Address.Content, MediaType: a.Address.MediaType}}
	}
	return m
}

// odrlOut is the policy in the JSON form of the protocol.
func odrlOut(p odrl.Policy, parties odrl.Parties) (*structpb.Struct, error) {
	text, err := odrl.Marshal(p, parties)
	if err != nil {
		return nil, fault.Wrap("rpc.odrl", fault.Internal, err)
	}
	var s structpb.Struct
	if err := protojson.Unmarshal(text, &s); err != nil {
		return nil, fault.Wrap("rpc.odrl", fault.Internal, err)
	}
	return &s, nil
}

// odrlIn reads a policy; what is wrong is told with its clause.
func odrlIn(s *structpb.Struct) (odrl.Policy, odrl.Parties, error) {
	const op = "rpc.odrl"
	if len(s.GetFields()) == 0 {
		return odrl.Policy{}, odrl.Parties{}, fault.New(op, fault.Malformed, "odrl: want a policy in the JSON form of the Dataspace Protocol")
	}
	text, err := json.Marshal(s.AsMap())
	if err != nil {
		return odrl.Policy{}, odrl.Parties{}, fault.New(op, fault.Malformed, "odrl: want values that JSON can hold")
	}
	p, parties, err := odrl.Parse(text)
	if err != nil {
		return odrl.Policy{}, odrl.Parties{}, &fault.Error{Op: op, Kind: fault.Malformed, Code: "policy.malformed", Reason: err.Error(), Err: err}
	}
	return p, parties, nil
}

func policyOut(d catalog.Definition) (*pb.Policy, error) {
	s, err := odrlOut(d.Policy, odrl.Parties{Kind: "Set"})
	if err != nil {
		return nil, err
	}
	kind := pb.PolicyKind_POLICY_KIND_USAGE
	if d.Access {
		kind = pb.PolicyKind_POLICY_KIND_ACCESS
	}
	return &pb.Policy{Digest: d.Digest, Name: d.Name, Kind: kind, Odrl: s, Profile: d.Profile, Created: stampOf(d.Created)}, nil
}

func ruleIn(m *pb.Rule) catalog.Rule {
	return catalog.Rule{ID: m.GetId(), Version: m.GetVersion(), Access: m.GetAccess(), Usage: m.GetUsage(), Approval: m.GetApproval(),
		Selector: catalog.Selector{Assets: m.GetSelector().GetAssets(), Type: m.GetSelector().GetType(), SemanticID: m.GetSelector().GetSemanticId(),
			Properties: m.GetSelector().GetProperties()}}
}

func ruleOut(r catalog.Rule) *pb.Rule {
	return &pb.Rule{Id: r.ID, Version: r.Version, Access: r.Access, Usage: r.Usage, Approval: r.Approval, Created: stampOf(r.Created),
		Selector: &pb.Selector{Assets: r.Selector.Assets, Type: r.Selector.Type, SemanticId: r.Selector.SemanticID,
			Properties: r.Selector.Properties}}
}

func offerOut(o catalog.Offer) *pb.Offer {
	return &pb.Offer{Id: o.ID, Asset: o.Asset, Rule: o.Rule, Access: o.Access, Usage: o.Usage, Created: stampOf(o.Created)}
}

func datasetOut(d catalog.RemoteDataset) (*pb.Dataset, error) {
	m := &pb.Dataset{Id: d.ID, Title: d.Title, Type: d.Type, ApiVersion: d.Version, SemanticId: d.SemanticID, Formats: d.Formats}
	for _, o := range d.Offers {
		p := o.Policy
		p.ID = o.ID
		s, err := odrlOut(p, odrl.Parties{Kind: "Offer"})
		if err != nil {
			return nil, err
		}
		m.Offers = append(m.Offers, &pb.DatasetOffer{Id: o.ID, Odrl: s})
	}
	return m, nil
}

func negotiationOut(n negotiation.Negotiation) *pb.Negotiation {
	return &pb.Negotiation{Id: n.ID, Version: n.Version, Role: string(n.Role), Peer: string(n.Peer), PeerPid: n.PeerPID, State: string(n.State),
		Offer: n.Offer.ID, Asset: n.Offer.Target, Agreement: n.AgreementID, Code: n.Code, Reasons: n.Reasons, Error: n.Error, Actor: n.Actor,
		Created: stampOf(n.Created), Updated: stampOf(n.Updated), Record: n.LastRecord, Held: string(n.Held.Message), HeldReasons: n.Held.Reasons,
		HeldUntil: stampOf(n.Held.Until)}
}

func transferOut(t transfer.Transfer) *pb.Transfer {
	return &pb.Transfer{Id: t.ID, Version: t.Version, Role: string(t.Role), Peer: string(t.Peer), PeerPid: t.PeerPID, State: string(t.State),
		Agreement: t.AgreementID, Asset: t.Asset, Format: t.Format, Code: t.Code, Reasons: t.Reasons, Error: t.Error, Actor: t.Actor,
		Created: stampOf(t.Created), Updated: stampOf(t.Updated), Record: t.LastRecord}
}

func agreementOut(a agreement.Agreement) (*pb.Agreement, error) {
	p := a.Policy
	p.ID = a.ID
	s, err := odrlOut(p, odrl.Parties{Kind: "Agreement", Target: a.Asset, Assigner: string(a.Provider), Assignee: string(a.Consumer),
		Timestamp: a.Signed.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		return nil, err
	}
	m := &pb.Agreement{Id: a.ID, Negotiation: a.Negotiation, Role: a.Role, Provider: string(a.Provider), Consumer: string(a.Consumer), Asset: a.Asset,
		Odrl: s, Profile: a.Profile, Signed: stampOf(a.Signed), Digest: a.Digest, Created: stampOf(a.Created)}
	if r := a.Retired; r != nil {
		m.Retired = &pb.Retirement{Reason: r.Reason, Actor: r.Actor, Time: stampOf(r.Time)}
	}
	return m, nil
}

func decisionOut(index uint64, e decisionlog.Entry) (*pb.Decision, error) {
	r, err := decisionlog.ParseRecord(e.Bytes)
	if err != nil {
		return nil, fault.Wrap("rpc.decision", fault.Internal, err)
	}
	m := &pb.Decision{Index: index, Id: r.ID, Kind: r.Kind, Time: stampOf(r.When()), Door: r.Door, Effect: r.Effect, Error: r.Error,
		Process: e.Process, Record: e.Bytes}
	for _, reason := range r.Reasons {
		m.Reasons = append(m.Reasons, &pb.DecisionReason{Code: reason.Code, Rule: reason.Rule, Clause: reason.Clause, Outcome: reason.Outcome})
	}
	return m, nil
}

func eventOut(e commit.Event) *pb.Event {
	return &pb.Event{Seq: e.Seq, Type: e.Type, Subject: e.Subject, Time: stampOf(e.Time), Data: e.Data, Actor: e.Actor}
}

// each translates the items of a page.
func each[T, M any](items []T, translate func(T) (M, error)) ([]M, error) {
	out := make([]M, 0, len(items))
	for _, item := range items {
		m, err := translate(item)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// sure makes a translation that cannot fail one that each takes.
func sure[T, M any](translate func(T) M) func(T) (M, error) {
	return func(item T) (M, error) { return translate(item), nil }
}
