# Each operand with what it allows, denies, misses, takes for another type, and at its boundary (security.md, rule T-23). A case is
# a clause, the verdict on it, and what differs from the usual question.
package sluice_test

import data.sluice

now := 1795510800000 # 2026-11-24T09:00:00Z

held(type, subject) := {"type": type, "subject": subject, "not_before": now - 1000, "not_after": now + 1000, "digest": "", "id": "", "issuer": ""}

membership := held("MembershipCredential", {"memberOf": "Meridian"})

governance := held("DataExchangeGovernanceCredential", {"contractVersion": "1.0"})

nobody := {"did": "", "bpn": "", "credentials": [], "groups": {}}

aurora := {"did": "did:web:aurora", "bpn": "BPNL00000000AUR1", "credentials": [membership, governance], "groups": {}}

question := {
	"door": "negotiation.request", "now": now, "action": "use", "profile": "", "role": "provider", "own": nobody, "peer": aurora,
	"accepts": [], "policies": [], "asset": {}, "agreement": {"id": "", "digest": "", "signed": 0}, "process": {}, "request": {},
}

asking(clauses, changes) := object.union(question, object.union({"policies": [{"digest": "", "clauses": clauses}]}, changes))

clause(operand, operator, values) := {"clause": "permission/0/constraint/0", "operand": operand, "operator": operator, "values": values}

effects := {"satisfied": "allow", "accepted-term": "allow", "violated": "deny", "error": "deny"}

# answered holds when the only clause of a policy has the verdict, in full, and the decision follows from it.
answered(operand, operator, values, code, outcome, changes) if {
	decision := sluice.decision with input as asking([clause(operand, operator, values)], changes)
	[reason] = decision.reasons
	reason.code == code
	reason.outcome == outcome
	reason.clause == "permission/0/constraint/0"
	reason.operand == operand
	reason.params == {"operator": operator, "want": concat(", ", values)}
	decision.effect == effects[outcome]
}

peer(changes) := {"peer": object.union(aurora, changes)}

test_membership[note] if {
	some note, [operator, values, code, outcome, changes] in {
		"a member": ["eq", ["active"], "membership.active", "satisfied", {}],
		"no credential": ["eq", ["active"], "membership.missing", "violated", peer({"credentials": []})],
		"another credential": ["eq", ["active"], "membership.missing", "violated", peer({"credentials": [governance]})],
		"a credential in another case": ["eq", ["active"], "membership.missing", "violated", peer({"credentials": [held("membershipCredential", {})]})],
		"its first moment": ["eq", ["active"], "membership.active", "satisfied", peer({"credentials": [object.union(membership, {"not_before": now})]})],
		"a moment before": ["eq", ["active"], "membership.missing", "violated", peer({"credentials": [object.union(membership, {"not_before": now + 1})]})],
		"its last moment": ["eq", ["active"], "membership.active", "satisfied", peer({"credentials": [object.union(membership, {"not_after": now + 1})]})],
		"its end": ["eq", ["active"], "membership.missing", "violated", peer({"credentials": [object.union(membership, {"not_after": now})]})],
		"the other side's": ["eq", ["active"], "membership.missing", "violated", {"role": "consumer"}],
		"our own": ["eq", ["active"], "membership.active", "satisfied", {"role": "consumer", "own": aurora, "peer": nobody}],
		"no role": ["eq", ["active"], "membership.missing", "violated", {"role": ""}],
		"another value": ["eq", ["Active"], "membership.term", "error", {}],
		"no value": ["eq", [], "membership.term", "error", {}],
		"two values": ["eq", ["active", "active"], "membership.term", "error", {}],
		"another operator": ["isAnyOf", ["active"], "membership.term", "error", {}],
		"its contrary": ["neq", ["active"], "membership.term", "error", {}],
	}
	answered("Membership", operator, values, code, outcome, changes)
}

test_framework[note] if {
	some note, [operator, values, code, outcome, changes] in {
		"accepted": ["eq", ["DataExchangeGovernance:1.0"], "framework.accepted", "satisfied", {}],
		"not accepted": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [membership]})],
		"another version": ["eq", ["DataExchangeGovernance:1.0.0"], "framework.missing", "violated", {}],
		"a version that is a number": ["eq", ["DataExchangeGovernance:1"], "framework.missing", "violated", {}],
		"another framework": ["eq", ["Pcf:1.0"], "framework.missing", "violated", {}],
		"another case": ["eq", ["dataExchangeGovernance:1.0"], "framework.missing", "violated", {}],
		"a credential without version": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [held("DataExchangeGovernanceCredential", {})]})],
		"a type that is no credential": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [held("DataExchangeGovernance", {"contractVersion": "1.0"})]})],
		"a type that goes on": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [held("DataExchangeGovernanceCredentials", {"contractVersion": "1.0"})]})],
		"a name that holds the separator": ["eq", ["DataExchange:Governance:1.0"], "framework.missing", "violated", peer({"credentials": [held("DataExchange:GovernanceCredential", {"contractVersion": "1.0"})]})],
		"a version that holds it": ["eq", ["DataExchangeGovernance:1:0"], "framework.accepted", "satisfied", peer({"credentials": [held("DataExchangeGovernanceCredential", {"contractVersion": "1:0"})]})],
		"its last moment": ["eq", ["DataExchangeGovernance:1.0"], "framework.accepted", "satisfied", peer({"credentials": [object.union(governance, {"not_after": now + 1})]})],
		"its end": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [object.union(governance, {"not_after": now})]})],
		"before it begins": ["eq", ["DataExchangeGovernance:1.0"], "framework.missing", "violated", peer({"credentials": [object.union(governance, {"not_before": now + 1})]})],
		"without separator": ["eq", ["DataExchangeGovernance"], "framework.term", "error", {}],
		"without name": ["eq", [":1.0"], "framework.term", "error", {}],
		"no value": ["eq", [], "framework.term", "error", {}],
		"two values, one accepted": ["eq", ["DataExchangeGovernance:1.0", "Pcf:1.0"], "framework.term", "error", {}],
		"another operator": ["isAnyOf", ["DataExchangeGovernance:1.0"], "framework.term", "error", {}],
	}
	answered("FrameworkAgreement", operator, values, code, outcome, changes)
}

test_partner[note] if {
	some note, [operator, values, code, outcome, changes] in {
		"on the list": ["isAnyOf", ["BPNL00000000BOR1", "BPNL00000000AUR1"], "partner.listed", "satisfied", {}],
		"not on the list": ["isAnyOf", ["BPNL00000000BOR1"], "partner.unlisted", "violated", {}],
		"in another case": ["isAnyOf", ["bpnl00000000aur1"], "partner.unlisted", "violated", {}],
		"with a blank": ["isAnyOf", ["BPNL00000000AUR1 "], "partner.unlisted", "violated", {}],
		"on an empty list": ["isAnyOf", [], "partner.unlisted", "violated", {}],
		"excluded": ["isNoneOf", ["BPNL00000000AUR1"], "partner.excluded", "violated", {}],
		"not excluded": ["isNoneOf", ["BPNL00000000DUS1"], "partner.not-excluded", "satisfied", {}],
		"unproven on a list": ["isAnyOf", ["BPNL00000000AUR1"], "partner.unproven", "violated", peer({"bpn": ""})],
		"unproven with nothing on the list": ["isAnyOf", [""], "partner.unproven", "violated", peer({"bpn": ""})],
		"unproven outside a list": ["isNoneOf", ["BPNL00000000DUS1"], "partner.unproven", "violated", peer({"bpn": ""})],
		"no role": ["isNoneOf", ["BPNL00000000DUS1"], "partner.term", "error", {"role": ""}],
		"another operator": ["eq", ["BPNL00000000AUR1"], "partner.term", "error", {}],
	}
	answered("BusinessPartnerNumber", operator, values, code, outcome, changes)
}

test_group[note] if {
	groups := {"friends": true, "rivals": false}
	known := peer({"groups": groups})
	nameless := peer({"groups": groups, "bpn": ""})
	some note, [operator, values, code, outcome, changes] in {
		"in one of them": ["isAnyOf", ["rivals", "friends"], "group.member", "satisfied", known],
		"in one of them by its DID alone": ["isAnyOf", ["friends"], "group.member", "satisfied", nameless],
		"in none of them": ["isAnyOf", ["rivals"], "group.stranger", "violated", known],
		"in one that is not there": ["isAnyOf", ["friend"], "group.stranger", "violated", known],
		"in other letters": ["isAnyOf", ["Friends"], "group.stranger", "violated", known],
		"in one of none": ["isAnyOf", [], "group.stranger", "violated", known],
		"where nobody is grouped": ["isAnyOf", ["friends"], "group.stranger", "violated", {}],
		"excluded": ["isNoneOf", ["rivals", "friends"], "group.excluded", "violated", known],
		"not excluded": ["isNoneOf", ["rivals"], "group.not-excluded", "satisfied", known],
		"excluded from what is not there": ["isNoneOf", ["rivals", "foes"], "group.term", "error", known],
		"excluded where nobody is grouped": ["isNoneOf", ["rivals"], "group.term", "error", {}],
		"excluded from nothing": ["isNoneOf", [], "group.term", "error", known],
		"unproven outside a group": ["isNoneOf", ["rivals"], "partner.unproven", "violated", nameless],
		"unproven in none": ["isAnyOf", ["rivals"], "partner.unproven", "violated", nameless],
		"no role": ["isNoneOf", ["rivals"], "group.term", "error", object.union(known, {"role": ""})],
		"another operator": ["eq", ["friends"], "group.term", "error", known],
	}
	answered("BusinessPartnerGroup", operator, values, code, outcome, changes)
}

test_purpose[note] if {
	consumer := {"role": "consumer", "accepts": ["cx.pcf.base:1"]}
	some note, [operator, values, code, outcome, changes] in {
		"a provider binds": ["isAnyOf", ["cx.pcf.base:1"], "purpose.bound", "accepted-term", {}],
		"a consumer accepts one of them": ["isAnyOf", ["cx.quality.base:1", "cx.pcf.base:1"], "purpose.accepted", "satisfied", consumer],
		"a consumer accepts none of them": ["isAnyOf", ["cx.quality.base:1"], "purpose.unaccepted", "violated", consumer],
		"a consumer accepts nothing": ["isAnyOf", ["cx.pcf.base:1"], "purpose.unaccepted", "violated", {"role": "consumer"}],
		"nothing to accept": ["isAnyOf", [], "purpose.unaccepted", "violated", consumer],
		"in another case": ["isAnyOf", ["CX.pcf.base:1"], "purpose.unaccepted", "violated", consumer],
		"no role": ["isAnyOf", ["cx.pcf.base:1"], "purpose.term", "error", {"role": ""}],
		"another operator": ["eq", ["cx.pcf.base:1"], "purpose.term", "error", {}],
	}
	answered("UsagePurpose", operator, values, code, outcome, changes)
}

test_end_date[note] if {
	some note, [value, code, outcome] in {
		"a second before": ["2026-11-24T09:00:01Z", "usage-end.before", "satisfied"],
		"the moment itself": ["2026-11-24T09:00:00Z", "usage-end.passed", "violated"],
		"a second after": ["2026-11-24T08:59:59Z", "usage-end.passed", "violated"],
		"an offset": ["2026-11-24T10:00:01+01:00", "usage-end.before", "satisfied"],
		"an offset, at the moment": ["2026-11-24T04:00:00-05:00", "usage-end.passed", "violated"],
		"a leap day": ["2028-02-29T00:00:00Z", "usage-end.before", "satisfied"],
		"a leap day of a leap century": ["2000-02-29T00:00:00Z", "usage-end.passed", "violated"],
		"no leap day": ["2027-02-29T00:00:00Z", "usage-end.term", "error"],
		"no leap day of a century": ["2100-02-29T00:00:00Z", "usage-end.term", "error"],
		"the 30th of February": ["2027-02-30T00:00:00Z", "usage-end.term", "error"],
		"the 31st of April": ["2027-04-31T00:00:00Z", "usage-end.term", "error"],
		"the 31st of December": ["2027-12-31T23:59:59Z", "usage-end.before", "satisfied"],
		"the last year": ["2199-12-31T23:59:59Z", "usage-end.before", "satisfied"],
		"a year too far to count to": ["9999-12-31T23:59:59Z", "usage-end.term", "error"],
		"a year before time": ["0001-01-01T00:00:00Z", "usage-end.term", "error"],
		"month 13": ["2027-13-01T00:00:00Z", "usage-end.term", "error"],
		"hour 24": ["2027-01-01T24:00:00Z", "usage-end.term", "error"],
		"a leap second": ["2026-12-31T23:59:60Z", "usage-end.term", "error"],
		"fractions": ["2027-01-01T00:00:00.5Z", "usage-end.term", "error"],
		"no offset": ["2027-01-01T00:00:00", "usage-end.term", "error"],
		"a date alone": ["2027-01-01", "usage-end.term", "error"],
		"a number": ["1830297600000", "usage-end.term", "error"],
		"a word": ["never", "usage-end.term", "error"],
		"lines behind it": ["2027-01-01T00:00:00Z\n", "usage-end.term", "error"],
		"nothing": ["", "usage-end.term", "error"],
	}
	answered("DataUsageEndDate", "eq", [value], code, outcome, {})
}

test_end_date_of_another_form[note] if {
	some note, [operator, values] in {
		"no value": ["eq", []],
		"two values": ["eq", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]],
		"another operator": ["lt", ["2027-01-01T00:00:00Z"]],
	}
	answered("DataUsageEndDate", operator, values, "usage-end.term", "error", {})
}

test_duration[note] if {
	day := 86400000
	some note, [operator, values, signed, code, outcome] in {
		"within": ["eq", ["31"], now - (30 * day), "usage-end.before", "satisfied"],
		"its last moment": ["eq", ["30"], (now - (30 * day)) + 1, "usage-end.before", "satisfied"],
		"its end": ["eq", ["30"], now - (30 * day), "usage-end.passed", "violated"],
		"compared as a number": ["eq", ["9"], now - (10 * day), "usage-end.passed", "violated"],
		"before there is an agreement": ["eq", ["30"], 0, "usage-end.later", "accepted-term"],
		"the longest": ["eq", ["99999"], now - day, "usage-end.before", "satisfied"],
		"too long": ["eq", ["100000"], now - day, "usage-end.term", "error"],
		"zero": ["eq", ["0"], now, "usage-end.term", "error"],
		"less than zero": ["eq", ["-1"], now, "usage-end.term", "error"],
		"half a day": ["eq", ["1.5"], now, "usage-end.term", "error"],
		"a power": ["eq", ["1e3"], now, "usage-end.term", "error"],
		"leading zeros": ["eq", ["030"], now, "usage-end.term", "error"],
		"a word": ["eq", ["ninety"], 0, "usage-end.term", "error"],
		"nothing": ["eq", [""], 0, "usage-end.term", "error"],
		"no value": ["eq", [], 0, "usage-end.term", "error"],
		"two values": ["eq", ["30", "60"], 0, "usage-end.term", "error"],
		"another operator": ["lteq", ["30"], now, "usage-end.term", "error"],
		"another operator before there is an agreement": ["lteq", ["30"], 0, "usage-end.term", "error"],
	}
	answered("DataUsageEndDurationDays", operator, values, code, outcome, {"agreement": {"signed": signed}})
}

test_definition[note] if {
	some note, [operator, values, code, outcome] in {
		"unlimited": ["eq", ["cx.dataUsageEnd.unlimited:1"], "usage-end.unlimited", "accepted-term"],
		"another version": ["eq", ["cx.dataUsageEnd.unlimited"], "usage-end.term", "error"],
		"no value": ["eq", [], "usage-end.term", "error"],
		"another operator": ["isAnyOf", ["cx.dataUsageEnd.unlimited:1"], "usage-end.term", "error"],
	}
	answered("DataUsageEndDefinition", operator, values, code, outcome, {})
}

test_unknown[note] if {
	some note, operand in {
		"one of no profile": "Region", "another case": "membership", "a blank": "Membership ", "none": "", "a prefix": "cx-policy:Membership",
		"a prohibition": "prohibition", "an obligation": "obligation", "an or": "or", "an action": "action",
	}
	answered(operand, "eq", ["active"], "operand.unknown", "error", {})
}

good := clause("Membership", "eq", ["active"])

bad := clause("Region", "eq", ["EU"])

test_whole[note] if {
	some note, [policies, effect, codes] in {
		"no policy": [[], "deny", []],
		"a policy without clauses": [[{"digest": "", "clauses": []}], "deny", []],
		"a policy without clauses beside a good one": [[{"digest": "", "clauses": [good]}, {"digest": "", "clauses": []}], "deny", ["membership.active"]],
		"two good ones": [[{"digest": "", "clauses": [good]}, {"digest": "", "clauses": [good]}], "allow", ["membership.active", "membership.active"]],
		"a bad one beside a good one": [[{"digest": "", "clauses": [good]}, {"digest": "", "clauses": [bad]}], "deny", ["membership.active", "operand.unknown"]],
		"a bad clause before a good one": [[{"digest": "", "clauses": [bad, good]}], "deny", ["operand.unknown", "membership.active"]],
		"a bad clause behind a good one": [[{"digest": "", "clauses": [good, bad]}], "deny", ["membership.active", "operand.unknown"]],
	}
	decision := sluice.decision with input as object.union(question, {"policies": policies})
	decision.effect == effect
	[reason.code | some reason in decision.reasons] == codes
	decision.limits == {"not_after": 0}
}

test_approval[note] if {
	some note, [approval, code] in {
		"nobody was asked": ["", "approval.term"],
		"nobody has answered": ["awaited", "approval.awaited"],
		"somebody approved": ["given", "approval.given"],
		"another word": ["perhaps", "approval.term"],
	}
	decision := sluice.decision with input as asking([good, clause("approval", "eq", ["given"])], {"approval": approval})
	[reason.code | some reason in decision.reasons] == ["membership.active", code]
	decision.effect == {true: "allow", false: "deny"}[code == "approval.given"]
}

test_limits[note] if {
	signed := now - 1000
	some note, [clauses, end] in {
		"none": [[good], 0],
		"a date": [[clause("DataUsageEndDate", "eq", ["2026-12-24T10:00:00Z"])], 1798106400000],
		"a duration": [[clause("DataUsageEndDurationDays", "eq", ["1"])], signed + 86400000],
		"the earlier of both": [[clause("DataUsageEndDate", "eq", ["2026-12-24T10:00:00Z"]), clause("DataUsageEndDurationDays", "eq", ["1"])], signed + 86400000],
		"one that is over": [[clause("DataUsageEndDate", "eq", ["2020-01-01T00:00:00Z"])], 1577836800000],
		"one that is none": [[clause("DataUsageEndDate", "eq", ["soon"])], 0],
	}
	decision := sluice.decision with input as asking(clauses, {"agreement": {"signed": signed}})
	decision.limits.not_after == end
}

test_nothing_to_go_by_is_a_denial if {
	decision := sluice.decision with input as {}
	decision == {"effect": "deny", "limits": {"not_after": 0}, "reasons": []}
}
