package templates

// Option changes how catalogues are loaded, or what a Store does beside.
type Option func(*options)

type options struct {
	assets string // where the world gets assets; empty: nowhere
	served bool   // that address was asked for, so it matters that it is empty
	shelf  Shelf
	held   int64
	// references: of a version from a shelf, whose assets are their digests.
	references bool
}

// WithAssets says where the world gets the assets, without the slash before
// their names; empty when nowhere, which parts that name one are warned of.
func WithAssets(baseURL string) Option {
	return func(o *options) { o.assets, o.served = baseURL, true }
}

// WithShelf makes a Store share versions of templates with other processes,
// and with those to come.
func WithShelf(s Shelf) Option { return func(o *options) { o.shelf = s } }

// WithHeld bounds the compiled earlier versions of a Store, in bytes by its own
// reckoning.
func WithHeld(bytes int64) Option { return func(o *options) { o.held = bytes } }

// defaultHeld is what a Store holds that was not told.
const defaultHeld = 32 << 20

func optionsOf(opts []Option) options {
	o := options{held: defaultHeld}
	for _, set := range opts {
		set(&o)
	}
	return o
}
