package shelf

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/templates"
)

const (
	// maxBundle bounds a template's version, unpacked, in bytes.
	maxBundle = 64 << 20
	// bundleCost is what a bundle takes in Redis beside its bytes: its key, its
	// name in two places, and its expiry.
	bundleCost = 400
	// batchBundles is how many go in one round trip.
	batchBundles = 100
)

// Put keeps versions, or keeps those that are there for longer. They may be
// more than the bound: then those that were put longest ago are gone.
func (s *Shelf) Put(ctx context.Context, versions []templates.Bundle) error {
	for batch := range slices.Chunk(versions, batchBundles) {
		if err := s.putBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shelf) putBatch(ctx context.Context, versions []templates.Bundle) error {
	both := []string{s.keys.shelf(), s.keys.sizes()}
	args := []any{s.keys.bundle(""), s.Life.Milliseconds()}
	for _, v := range versions {
		args = append(args, member(v.Template, v.Version))
	}
	missing, err := s.touch.Run(ctx, s.rdb, both, args...).Int64Slice()
	if err != nil {
		return wrap("keep versions of templates", err)
	}
	if len(missing) == 0 {
		return nil
	}
	args = append(args[:2:2], s.Bound, bundleCost)
	for _, i := range missing {
		v := versions[i]
		packed, err := pack(v.Files)
		if err != nil {
			return fmt.Errorf("pack version %s of template %s: %w", v.Version, v.Template, err)
		}
		args = append(args, member(v.Template, v.Version), packed)
	}
	return wrap("keep versions of templates", s.put.Run(ctx, s.rdb, both, args...).Err())
}

// Take is what a version was made of; nil when it is not kept.
func (s *Shelf) Take(ctx context.Context, template, version string) (templates.Files, error) {
	packed, err := s.rdb.Get(ctx, s.keys.bundle(member(template, version))).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("read a version of a template", err)
	}
	files, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("read version %s of template %s: %w", version, template, err)
	}
	return files, nil
}

// pack writes files as deflated JSON.
func pack(files templates.Files) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		return nil, err
	}
	if err := json.MarshalWrite(w, map[string]string(files), json.Deterministic(true)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unpack reads what pack wrote.
func unpack(packed []byte) (templates.Files, error) {
	files := map[string]string{}
	r := io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxBundle)
	if err := json.UnmarshalRead(r, &files); err != nil {
		return nil, err
	}
	return files, nil
}
