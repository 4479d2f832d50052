package pair

import (
	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Term is an atomic constraint.
func Term(operand, operator string, values ...string) odrl.Constraint {
	return odrl.Constraint{LeftOperand: operand, Operator: operator, RightOperand: values, List: operator == "isAnyOf" || operator == "isNoneOf"}
}

// Policy allows the action when all terms hold.
func Policy(action string, terms ...odrl.Constraint) odrl.Policy {
	rule := odrl.Rule{Action: action, Constraint: terms}
	if len(terms) > 1 {
		rule.Constraint = []odrl.Constraint{{And: terms}}
	}
	return odrl.Policy{Permission: []odrl.Rule{rule}}
}

// Members is the access policy that shows an offer to every member.
func Members() odrl.Policy { return Policy("access", Term("Membership", "eq", "active")) }

// Footprints is the usage policy that asks for the framework agreement.
func Footprints() odrl.Policy {
	return Policy("use", Term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0"), Term("Membership", "eq", "active"),
		Term("UsagePurpose", "isAnyOf", "cx.pcf.base:1"))
}

// Publish lets the side offer Dataset under the policies.
func (s *Side) Publish(access, usage odrl.Policy) catalog.Entry {
	t, ctx := s.net.t, s.net.t.Context()
	t.Helper()
	content := []byte(`{"pcf":"1.00"}`)
	err := s.Catalog.Publish(ctx, s.Local, catalog.Publication{Actor: "operator",
		Assets: []catalog.Asset{{ID: Dataset, Type: "https://w3id.org/catenax/taxonomy#PcfExchange", APIVersion: "3.0", Address: catalog.Address{
			Content: catalog.DigestOf(content), MediaType: "application/json"}}},
		Contents: []catalog.Content{{Digest: catalog.DigestOf(content), MediaType: "application/json", Bytes: content, Created: s.net.Now()}}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Offer(access, usage)
}

// Offer offers Dataset, which is published, under further policies.
func (s *Side) Offer(access, usage odrl.Policy) catalog.Entry {
	s.net.t.Helper()
	return s.offer(access, usage, false)
}

// OfferOnApproval is Offer of a contract that an operator has to approve.
func (s *Side) OfferOnApproval(access, usage odrl.Policy) catalog.Entry {
	s.net.t.Helper()
	return s.offer(access, usage, true)
}

func (s *Side) offer(access, usage odrl.Policy, approval bool) catalog.Entry {
	t, ctx := s.net.t, s.net.t.Context()
	t.Helper()
	seen, err := s.Catalog.Define(ctx, s.Local, "seen by", access, true, "operator")
	if err != nil {
		t.Fatal(err)
	}
	used, err := s.Catalog.Define(ctx, s.Local, "used under", usage, false, "operator")
	if err != nil {
		t.Fatal(err)
	}
	rule, err := s.Catalog.Offer(ctx, s.Local, catalog.Rule{Access: seen.Digest, Usage: used.Digest, Approval: approval}, "operator")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Store.Entries(ctx, s.Local.ID, []string{seen.Digest}, Dataset, page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries.Items {
		if e.Offer.Rule == rule.ID {
			return e
		}
	}
	t.Fatalf("%s is not offered", Dataset)
	return catalog.Entry{}
}

// Ask is the offer as a consumer asks for it.
func Ask(e catalog.Entry) negotiation.Offer {
	return negotiation.Offer{ID: e.Offer.ID, Target: e.Asset.ID, Policy: e.Usage.Policy}
}

// Begin starts a negotiation as consumer with the peer.
func (s *Side) Begin(peer *Side, o negotiation.Offer) negotiation.Negotiation {
	t := s.net.t
	t.Helper()
	n, err := s.Negotiations.Begin(t.Context(), s.Local, negotiation.BeginRequest{Peer: peer.Local.DID, Offer: o, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Negotiation returns the side's negotiation; with an empty id the only one it has.
func (s *Side) Negotiation(id string) negotiation.Negotiation {
	t := s.net.t
	t.Helper()
	if id != "" {
		n, err := s.Negotiations.Get(t.Context(), s.Local, id)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all, err := s.Negotiations.List(t.Context(), s.Local, negotiation.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("%s has %d negotiations (%v), want 1", s.Local.Slug, len(all.Items), err)
	}
	return all.Items[0]
}

// Transfer returns the side's transfer; with an empty id the only one it has.
func (s *Side) Transfer(id string) transfer.Transfer {
	t := s.net.t
	t.Helper()
	if id != "" {
		got, err := s.Transfers.Get(t.Context(), s.Local, id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	all, err := s.Transfers.List(t.Context(), s.Local, transfer.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("%s has %d transfers (%v), want 1", s.Local.Slug, len(all.Items), err)
	}
	return all.Items[0]
}

// Agreements lists the side's agreements with everybody.
func (s *Side) Agreements() []agreement.Agreement {
	t := s.net.t
	t.Helper()
	all, err := s.Store.Agreements(t.Context(), s.Local.ID, participant.DID(""), page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// Records returns the decision records of a process, oldest first.
func (s *Side) Records(process string) []decisionlog.Record {
	t := s.net.t
	t.Helper()
	entries, err := s.Store.LogByProcess(t.Context(), s.Local.Slug, process, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return s.parsed(entries)
}

// AllRecords returns every record of the side's log.
func (s *Side) AllRecords() []decisionlog.Record {
	t := s.net.t
	t.Helper()
	entries, err := s.Store.Unsequenced(t.Context(), s.Local.Slug, 10000)
	if err != nil {
		t.Fatal(err)
	}
	return s.parsed(entries)
}

func (s *Side) parsed(entries []decisionlog.Entry) []decisionlog.Record {
	t := s.net.t
	t.Helper()
	out := make([]decisionlog.Record, len(entries))
	for i, e := range entries {
		var err error
		if out[i], err = decisionlog.ParseRecord(e.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
