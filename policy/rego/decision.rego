# The decision at every door. A policy is data: each clause of each policy in force gets an outcome, and the answer is allow
# only when every outcome is satisfied or accepted-term. What no rule below knows is an error, and an error denies.
package sluice

default decision := {"effect": "deny", "limits": {"not_after": 0}, "reasons": []}

decision := {"effect": effect, "limits": {"not_after": not_after}, "reasons": reasons}

default effect := "deny"

effect := "allow" if {
	count(input.policies) > 0
	not silent
	outcomes := {reason.outcome | some reason in reasons}
	count(outcomes - {"satisfied", "accepted-term"}) == 0
}

# A policy without clauses allows nothing.
silent if {
	some policy in input.policies
	count(policy.clauses) == 0
}

reasons := [reason |
	{"clause": place, "operand": operand, "operator": operator, "values": values} = input.policies[_].clauses[_]
	[code, rule, outcome] = verdict(operand, operator, values)
	reason := {
		"code": code,
		"rule": rule,
		"clause": place,
		"operand": operand,
		"outcome": outcome,
		"params": {"operator": operator, "want": concat(", ", values)},
	}
]

# The company that the terms bind: the consumer, on whichever side of the contract we stand.
consumer := input.peer if input.role == "provider"

consumer := input.own if input.role == "consumer"

# A credential counts only inside its validity, judged by the time in the question.
valid(credential) if {
	credential.not_before <= input.now
	input.now < credential.not_after
}

# One verdict for each clause: code, rule, outcome. A verdict belongs to one operand, named first so that no other is tried, and
# always ends in one; an operand without a verdict of its own gets this one.
default verdict(_, _, _) := ["operand.unknown", "outcome", "error"]

verdict("Membership", operator, values) := ["membership.active", "membership", "satisfied"] if {
	operator == "eq"
	values == ["active"]
	member
} else := ["membership.missing", "membership", "violated"] if {
	operator == "eq"
	values == ["active"]
} else := ["membership.term", "membership", "error"]

member if {
	some credential in consumer.credentials
	credential.type == "MembershipCredential"
	valid(credential)
}

verdict("FrameworkAgreement", operator, values) := ["framework.accepted", "framework", "satisfied"] if {
	operator == "eq"
	count(values) == 1
	values[0] in frameworks
} else := ["framework.missing", "framework", "violated"] if {
	operator == "eq"
	count(values) == 1
	indexof(values[0], ":") > 0
} else := ["framework.term", "framework", "error"]

# The frameworks that the consumer accepted, as policies write them: the type of the credential, before its last word, and the version.
frameworks contains concat(":", [name, version]) if {
	some credential in consumer.credentials
	version := credential.subject.contractVersion
	[name, ""] = split(credential.type, "Credential")
	not contains(name, ":")
	valid(credential)
}

# A company that proved no number is never vacuously outside a list.
verdict("BusinessPartnerNumber", operator, values) := ["partner.unproven", "partner", "violated"] if {
	consumer.bpn == ""
} else := ["partner.listed", "partner", "satisfied"] if {
	operator == "isAnyOf"
	consumer.bpn in values
} else := ["partner.unlisted", "partner", "violated"] if {
	operator == "isAnyOf"
} else := ["partner.excluded", "partner", "violated"] if {
	operator == "isNoneOf"
	consumer.bpn in values
} else := ["partner.not-excluded", "partner", "satisfied"] if {
	operator == "isNoneOf"
	consumer.bpn
} else := ["partner.term", "partner", "error"]

# Groups are those of the company that decides. A member is one by its DID or by its number. One that proved no number is never vacuously outside a
# group, and a group that is not there excludes nobody: a policy that names one cannot be evaluated.
verdict("BusinessPartnerGroup", operator, values) := ["group.member", "group", "satisfied"] if {
	operator == "isAnyOf"
	some value in values
	consumer.groups[value]
} else := ["partner.unproven", "group", "violated"] if {
	consumer.bpn == ""
} else := ["group.stranger", "group", "violated"] if {
	operator == "isAnyOf"
} else := ["group.excluded", "group", "violated"] if {
	operator == "isNoneOf"
	some value in values
	consumer.groups[value]
} else := ["group.not-excluded", "group", "satisfied"] if {
	operator == "isNoneOf"
	count(values) > 0
	every value in values { consumer.groups[value] == false }
} else := ["group.term", "group", "error"]

# An operator's word, where the offer wants one beside its terms.
verdict("approval", _, _) := ["approval.given", "approval", "satisfied"] if {
	input.approval == "given"
} else := ["approval.awaited", "approval", "violated"] if {
	input.approval == "awaited"
} else := ["approval.term", "approval", "error"]

# The provider binds the consumer to the purposes; the consumer signs only purposes that it allows itself.
verdict("UsagePurpose", operator, values) := ["purpose.bound", "purpose", "accepted-term"] if {
	operator == "isAnyOf"
	input.role == "provider"
} else := ["purpose.accepted", "purpose", "satisfied"] if {
	operator == "isAnyOf"
	input.role == "consumer"
	some value in values
	value in input.accepts
} else := ["purpose.unaccepted", "purpose", "violated"] if {
	operator == "isAnyOf"
	input.role == "consumer"
} else := ["purpose.term", "purpose", "error"]

verdict("DataUsageEndDate", operator, values) := ["usage-end.before", "end_date", "satisfied"] if {
	input.now < end_of("DataUsageEndDate", operator, values)
} else := ["usage-end.passed", "end_date", "violated"] if {
	input.now >= end_of("DataUsageEndDate", operator, values)
} else := ["usage-end.term", "end_date", "error"]

verdict("DataUsageEndDurationDays", operator, values) := ["usage-end.before", "duration", "satisfied"] if {
	input.now < end_of("DataUsageEndDurationDays", operator, values)
} else := ["usage-end.passed", "duration", "violated"] if {
	input.now >= end_of("DataUsageEndDurationDays", operator, values)
} else := ["usage-end.later", "duration", "accepted-term"] if {
	operator == "eq"
	count(values) == 1
	days(values[0])
	input.agreement.signed == 0
} else := ["usage-end.term", "duration", "error"]

verdict("DataUsageEndDefinition", operator, values) := ["usage-end.unlimited", "definition", "accepted-term"] if {
	operator == "eq"
	values == ["cx.dataUsageEnd.unlimited:1"]
} else := ["usage-end.term", "definition", "error"]

# The moment at which a clause ends the use of the data.
end_of("DataUsageEndDate", "eq", [value]) := floor(time.parse_rfc3339_ns(value) / 1000000) if date(value)

# The exact moment of signing plus whole days of 24 hours; nothing to measure before there is an agreement.
end_of("DataUsageEndDurationDays", "eq", [value]) := input.agreement.signed + (to_number(value) * 86400000) if {
	days(value)
	input.agreement.signed > 0
}

# What the parser of times would fail on must not reach it: an error inside one clause would take the reasons of all. It counts
# nanoseconds, which end in 2262.
date(value) if regex.match(`^(19[7-9][0-9]|2[01][0-9][0-9])-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, value)

date(value) if {
	regex.match(`^(19[7-9][0-9]|2[01][0-9][0-9])-02-29T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`, value)
	leap(to_number(substring(value, 0, 4)))
}

leap(year) if {
	year % 4 == 0
	year % 100 > 0
}

leap(year) if year % 400 == 0

days(value) if regex.match(`^[1-9][0-9]{0,4}$`, value)

ends := {end |
	clause := input.policies[_].clauses[_]
	end := end_of(clause.operand, clause.operator, clause.values)
}

default not_after := 0

not_after := min(ends) if count(ends) > 0
