//go:build mutants

package mutants

// httpMutants are the rules about who may see and change what over HTTP.
var httpMutants = []mutant{
	{
		rule: "H1: what changes dead rows needs the token",
		file: "relay/admin/dead.go",
		old:  "to[pathReplay] = route{http.MethodPost, bearer,",
		new:  "to[pathReplay] = route{http.MethodPost, near,",
		pkg:  "./relay/admin", test: "TestOnlyTheTokenChangesDeadRows",
	},
	{
		rule: "H1: dead rows are for the relay's host and the token",
		file: "relay/admin/route.go",
		old:  "to.access == near && !who.trusted():",
		new:  "to.access == near && false:",
		pkg:  "./relay/admin", test: "TestOnlyTheTokenChangesDeadRows",
	},
	{
		rule: "H1: keys and errors are for the relay's host and the token",
		file: "relay/admin/redact.go",
		old:  "\tif c.trusted() {\n\t\treturn st",
		new:  "\tif true {\n\t\treturn st",
		pkg:  "./relay/admin", test: "TestErrorsAreTold",
	},
	{
		rule: "H1: what a proxy passes on is not from the relay's host",
		file: "relay/admin/caller.go",
		old:  "!forwarded(r.Header) &&",
		new:  "",
		pkg:  "./relay/admin", test: "TestErrorsAreTold",
	},
	{
		rule: "H1: a token that is read again is no worse than the first",
		file: "cmd/outbox-relay/serve.go",
		old:  "config.CheckAdminToken(text); err != nil {",
		new:  "config.CheckAdminToken(text); err != nil && text == \"\" {",
		pkg:  "./cmd/outbox-relay", test: "TestRotatedAdminTokenIsHeldToTheSameRules",
	},
	{
		rule: "H2: only names that are the relay's are answered",
		file: "relay/admin/route.go",
		old:  "if !s.hosts.allow(r.Host) {",
		new:  "if !s.hosts.allow(r.Host) && false {",
		pkg:  "./relay/admin", test: "TestRequestForAnotherNameIsRefused",
	},
	{
		rule: "H2: a page of another site changes nothing",
		file: "relay/admin/route.go",
		old:  "cross.Check(r); err != nil {",
		new:  "cross.Check(r); err != nil && false {",
		pkg:  "./relay/admin", test: "TestOtherSitesMayNotPost",
	},
	{
		rule: "H2: a page of another site is not from the relay's host",
		file: "relay/admin/caller.go",
		old:  "&& !foreignPage(r.Header)",
		new:  "",
		pkg:  "./relay/admin", test: "TestErrorsAreTold",
	},
	{
		rule: "H3: what was not previewed is not changed",
		file: "relay/admin/dead_change.go",
		old:  "case found.Rows != count:",
		new:  "case found.Rows < 0:",
		pkg:  "./relay/admin", test: "TestReplayGoesOnAloneWhateverBecomesOfItsCaller",
	},
	{
		rule: "H3: one replay or discard runs at a time",
		file: "relay/admin/dead_change.go",
		old:  "\tif d.Running {",
		new:  "\tif d.Running && false {",
		pkg:  "./relay/admin", test: "TestReplayGoesOnAloneWhateverBecomesOfItsCaller",
	},
}
