# The decision at every door. A policy is data: each clause of each policy in force gets an outcome, and the answer is allow
# only when every outcome is satisfied or accepted-term. What no rule below knows is an error, and an error denies.
package sluice

default decision := {"effect": "deny", "limits": {"not_after": 0}, "reasons": []}

decision := {"effect": effect, "limits": {"not_after": not_after}, "reasons": reasons}

default effect := "deny"

effect := "allow" if {
	count(input.policies) > 0
	every policy in input.policies {
		count(policy.clauses) > 0
	}
	every reason in reasons {
		passes(reason)
	}
}

passes(reason) if reason.outcome in {"satisfied", "accepted-term"}

reasons := [reason |
	some policy in input.policies
	some clause in policy.clauses
	reason := judged(clause)
]

judged(clause) := {
	"code": verdict.code,
	"rule": verdict.rule,
	"clause": clause.clause,
	"operand": clause.operand,
	"outcome": verdict.outcome,
	"params": {"operator": clause.operator, "want": concat(", ", clause.values)},
} if {
	verdict := outcome(clause)
}

# The company that the terms bind: the consumer, on whichever side of the contract we stand.
consumer := input.peer if input.role == "provider"

consumer := input.own if input.role == "consumer"

# One verdict per clause. The order of the else branches does not matter: each asks for another operand.
outcome(clause) := membership(clause) if {
	clause.operand == "Membership"
} else := framework(clause) if {
	clause.operand == "FrameworkAgreement"
} else := partner(clause) if {
	clause.operand == "BusinessPartnerNumber"
} else := purpose(clause) if {
	clause.operand == "UsagePurpose"
} else := end_date(clause) if {
	clause.operand == "DataUsageEndDate"
} else := duration(clause) if {
	clause.operand == "DataUsageEndDurationDays"
} else := definition(clause) if {
	clause.operand == "DataUsageEndDefinition"
} else := {"code": "operand.unknown", "rule": "outcome", "outcome": "error"}

# A credential counts only inside its validity, judged by the time in the question.
valid(credential) if {
	credential.not_before <= input.now
	input.now < credential.not_after
}

has(type) if {
	some credential in consumer.credentials
	credential.type == type
	valid(credential)
}

membership(clause) := {"code": "membership.active", "rule": "membership", "outcome": "satisfied"} if {
	clause.operator == "eq"
	clause.values == ["active"]
	has("MembershipCredential")
} else := {"code": "membership.missing", "rule": "membership", "outcome": "violated"} if {
	clause.operator == "eq"
	clause.values == ["active"]
} else := {"code": "membership.term", "rule": "membership", "outcome": "error"}

framework(clause) := {"code": "framework.accepted", "rule": "framework", "outcome": "satisfied"} if {
	clause.operator == "eq"
	some credential in consumer.credentials
	credential.type == concat("", [split(clause.values[0], ":")[0], "Credential"])
	credential.subject.contractVersion == substring(clause.values[0], indexof(clause.values[0], ":") + 1, -1)
	valid(credential)
} else := {"code": "framework.missing", "rule": "framework", "outcome": "violated"} if {
	clause.operator == "eq"
	count(clause.values) == 1
	indexof(clause.values[0], ":") > 0
} else := {"code": "framework.term", "rule": "framework", "outcome": "error"}

# A company that proved no number is never vacuously outside a list.
partner(clause) := {"code": "partner.unproven", "rule": "partner", "outcome": "violated"} if {
	consumer.bpn == ""
} else := {"code": "partner.listed", "rule": "partner", "outcome": "satisfied"} if {
	clause.operator == "isAnyOf"
	consumer.bpn in clause.values
} else := {"code": "partner.unlisted", "rule": "partner", "outcome": "violated"} if {
	clause.operator == "isAnyOf"
} else := {"code": "partner.excluded", "rule": "partner", "outcome": "violated"} if {
	clause.operator == "isNoneOf"
	consumer.bpn in clause.values
} else := {"code": "partner.not-excluded", "rule": "partner", "outcome": "satisfied"} if {
	clause.operator == "isNoneOf"
} else := {"code": "partner.term", "rule": "partner", "outcome": "error"}

# The provider binds the consumer to the purposes; the consumer signs only purposes that it allows itself.
purpose(clause) := {"code": "purpose.bound", "rule": "purpose", "outcome": "accepted-term"} if {
	clause.operator == "isAnyOf"
	input.role == "provider"
} else := {"code": "purpose.accepted", "rule": "purpose", "outcome": "satisfied"} if {
	clause.operator == "isAnyOf"
	input.role == "consumer"
	some value in clause.values
	value in input.accepts
} else := {"code": "purpose.unaccepted", "rule": "purpose", "outcome": "violated"} if {
	clause.operator == "isAnyOf"
	input.role == "consumer"
} else := {"code": "purpose.term", "rule": "purpose", "outcome": "error"}

end_of(clause) := floor(time.parse_rfc3339_ns(clause.values[0]) / 1000000) if {
	clause.operand == "DataUsageEndDate"
	clause.operator == "eq"
	date(clause.values[0])
}

# The exact moment of signing plus whole days of 24 hours; nothing to measure before there is an agreement.
end_of(clause) := input.agreement.signed + (to_number(clause.values[0]) * 86400000) if {
	clause.operand == "DataUsageEndDurationDays"
	clause.operator == "eq"
	days(clause.values[0])
	input.agreement.signed > 0
}

date(value) if regex.match(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, value)

date(value) if regex.match(`^[0-9]{4}-(0[13-9]|1[0-2])-30T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, value)

date(value) if regex.match(`^[0-9]{4}-(0[13578]|1[02])-31T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, value)

days(value) if regex.match(`^[1-9][0-9]{0,4}$`, value)

end_date(clause) := {"code": "usage-end.before", "rule": "end_date", "outcome": "satisfied"} if {
	input.now < end_of(clause)
} else := {"code": "usage-end.passed", "rule": "end_date", "outcome": "violated"} if {
	input.now >= end_of(clause)
} else := {"code": "usage-end.term", "rule": "end_date", "outcome": "error"}

duration(clause) := {"code": "usage-end.before", "rule": "duration", "outcome": "satisfied"} if {
	input.now < end_of(clause)
} else := {"code": "usage-end.passed", "rule": "duration", "outcome": "violated"} if {
	input.now >= end_of(clause)
} else := {"code": "usage-end.later", "rule": "duration", "outcome": "accepted-term"} if {
	clause.operator == "eq"
	days(clause.values[0])
	input.agreement.signed == 0
} else := {"code": "usage-end.term", "rule": "duration", "outcome": "error"}

definition(clause) := {"code": "usage-end.unlimited", "rule": "definition", "outcome": "accepted-term"} if {
	clause.operator == "eq"
	clause.values == ["cx.dataUsageEnd.unlimited:1"]
} else := {"code": "usage-end.term", "rule": "definition", "outcome": "error"}

ends := {end |
	some policy in input.policies
	some clause in policy.clauses
	end := end_of(clause)
}

default not_after := 0

not_after := min(ends) if count(ends) > 0
