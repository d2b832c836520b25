package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestPages: both pages are read as expected.
func TestPages(t *testing.T) {
	models := os.Getenv("PITOPT_MODELS")
	if models == "" {
		t.Skip("PITOPT_MODELS does not name the folder of models")
	}
	dir := filepath.Join(models, "ocr_pipeline")
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []struct {
		Page int
		Read []string
	}
	if err := json.Unmarshal(data, &pages); err != nil {
		t.Fatal(err)
	}
	if len(pages) == 0 {
		t.Fatal("expected.json has no pages")
	}
	r, err := open(models, "auto")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for _, p := range pages {
		got, err := r.read(context.Background(), filepath.Join(dir, fmt.Sprintf("page%d.png", p.Page)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, p.Read) {
			t.Errorf("page %d reads %q, not %q", p.Page, got, p.Read)
		}
	}
}

func TestReadingOrder(t *testing.T) {
	left, right := image.Rect(33, 102, 125, 114), image.Rect(267, 101, 338, 114)
	above, below := image.Rect(300, 80, 340, 95), image.Rect(10, 112, 50, 130)
	got := readingOrder([]image.Rectangle{below, right, above, left})
	if want := []image.Rectangle{above, left, right, below}; !slices.Equal(got, want) {
		t.Errorf("order %v, not %v", got, want)
	}
}

// TestComponents: two shapes that touch by a corner only are two, and a small one none.
func TestComponents(t *testing.T) {
	const w, h = 20, 16
	text := make([]float32, w*h)
	fill := func(r image.Rectangle) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				text[y*w+x] = 0.9
			}
		}
	}
	want := []image.Rectangle{image.Rect(0, 0, 8, 6), image.Rect(8, 6, 18, 12)}
	for _, r := range append(want, image.Rect(12, 0, 17, 5)) {
		fill(r)
	}
	if got := components(text, h, w); !slices.Equal(got, want) {
		t.Errorf("boxes %v, not %v", got, want)
	}
}

// TestBicubic: weights sum to 1, and a ramp stays a ramp away from the ends.
func TestBicubic(t *testing.T) {
	for _, size := range []struct{ in, out int }{{7, 18}, {18, 18}, {40, 18}, {1, 5}, {9, 1}} {
		step := float64(size.in) / float64(size.out)
		for i, tap := range bicubic(size.in, size.out) {
			sum, ramp := 0.0, 0.0
			for j, w := range tap.weights {
				sum += w
				ramp += w * (float64(tap.first+j) + 0.5)
			}
			if sum < 1-1e-12 || sum > 1+1e-12 {
				t.Errorf("%d to %d: weights of point %d sum to %v", size.in, size.out, i, sum)
			}
			centre := (float64(i) + 0.5) * step
			if margin := 2 * max(step, 1); centre-margin >= 0 && centre+margin <= float64(size.in) && (ramp < centre-step/4 || ramp > centre+step/4) {
				t.Errorf("%d to %d: point %d lies at %v, not %v", size.in, size.out, i, ramp, centre)
			}
		}
	}
}
