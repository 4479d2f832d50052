# Trade with Eclipse EDC, unmodified, through Maven. The first release is the one of pom.xml.
INTEROP_LIB := $(CURDIR)/.cache/interop

.PHONY: interop
interop: $(INTEROP_LIB)/0.14.1 $(INTEROP_LIB)/0.15.1 $(INTEROP_LIB)/0.15.1-hub $(INTEROP_LIB)/0.15.1-claims ## trade with Eclipse EDC both ways, two releases, and prove who is who with its wallet
	INTEROP_LIB=$(INTEROP_LIB) $(GO) run ./e2e/interop

.PHONY: interop-identity
interop-identity: $(INTEROP_LIB)/0.15.1 $(INTEROP_LIB)/0.15.1-hub $(INTEROP_LIB)/0.15.1-claims ## prove who is who with EDC's wallet and its identity service, alone
	INTEROP_LIB=$(INTEROP_LIB) $(GO) run ./e2e/interop identity

$(INTEROP_LIB)/%: e2e/interop/pom.xml
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< -Dedc=$* $(if $(filter-out 0.14.1,$*),-Dmock=$*) dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@

$(INTEROP_LIB)/%-hub: e2e/interop/hub.xml
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< -Dhub=$* dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@

$(INTEROP_LIB)/%-claims: e2e/interop/claims.xml
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< -Dedc=$* dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@

$(INTEROP_LIB)/%-sql: e2e/interop/sql.xml
	@command -v mvn >/dev/null && command -v javac >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends maven default-jdk-headless; }
	rm -rf $@
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$@

.PHONY: interop-rate
interop-rate: $(INTEROP_LIB)/0.14.1 $(INTEROP_LIB)/0.14.1-sql ## whole exchanges of EDC with EDC and of us with us, measured in one run: the tables of docs/benchmarks.md
	INTEROP_LIB=$(INTEROP_LIB) $(PGTEST) --fsync -- $(GO) run ./e2e/interop rate
