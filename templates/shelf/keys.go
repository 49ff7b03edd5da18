package shelf

// Every key of this room is named here. All of them have one hash tag, so that
// each change is one script over one slot of a Redis Cluster.
//
//	{ns:catalogue}:current        hash    version, and seq: how many changes there were
//	{ns:catalogue}:history        list    the last changes, newest first, as JSON (Entry)
//	{ns:catalogue}:version:{v}    string  a version's manifest, as JSON; for ever while the history names it
//	{ns:catalogue}:file:{digest}  string  a file; for ever while a version has it
//	{ns:catalogue}:asset:{digest} string  an asset; the same
//	{ns:catalogue}:refs           hash    file:{digest} or asset:{digest} → how many versions have it
//	{ns:catalogue}:changed        channel a version that has become current
//	{ns:catalogue}:shelf          zset    template@version by the millisecond it was put there last
//	{ns:catalogue}:sizes          hash    template@version → bytes; "" → all together
//	{ns:catalogue}:bundle:{t@v}   string  a template's version, see encode; it expires
type keys struct{ prefix string }

func newKeys(namespace string) keys { return keys{"{" + namespace + ":catalogue}:"} }

func (k keys) current() string               { return k.prefix + "current" }
func (k keys) history() string               { return k.prefix + "history" }
func (k keys) refs() string                  { return k.prefix + "refs" }
func (k keys) changed() string               { return k.prefix + "changed" }
func (k keys) version(v string) string       { return k.prefix + "version:" + v }
func (k keys) blob(name string) string       { return k.prefix + name }
func (k keys) shelf() string                 { return k.prefix + "shelf" }
func (k keys) sizes() string                 { return k.prefix + "sizes" }
func (k keys) bundle(member string) string   { return k.prefix + "bundle:" + member }
func member(template, version string) string { return template + "@" + version }
