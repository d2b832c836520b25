package main

import (
	"cmp"
	"context"
	"image"
	"slices"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

const (
	stride    = 32  // the detector takes multiples of it
	threshold = 0.3 // a point with a larger value is text
	smallest  = 30  // text of at most so many points is noise
)

// detect finds the boxes of words in reading order.
func detect(ctx context.Context, m *pitopt.Model, page image.Image) ([]image.Rectangle, error) {
	text, err := apply(ctx, m, normalise(page))
	if err != nil {
		return nil, err
	}
	shape := text.Shape() // [1, 1, height, width]
	boxes := components(tensor.Data[float32](text), int(shape[2]), int(shape[3]))
	return readingOrder(boxes), nil
}

// normalise gives a page as [1, 3, height, width] with the mean and deviation of
// ImageNet. White fills it up to multiples of stride.
func normalise(page image.Image) *tensor.Tensor {
	mean, deviation := [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	b := page.Bounds()
	h, w := roundUp(b.Dy(), stride), roundUp(b.Dx(), stride)
	data := make([]float32, 3*h*w)
	for y := range h {
		for x := range w {
			rgb := [3]uint32{0xffff, 0xffff, 0xffff}
			if p := b.Min.Add(image.Pt(x, y)); p.In(b) {
				rgb[0], rgb[1], rgb[2], _ = page.At(p.X, p.Y).RGBA()
			}
			for c, v := range rgb {
				data[(c*h+y)*w+x] = (float32(v>>8)/255 - mean[c]) / deviation[c]
			}
		}
	}
	return tensor.Of(data, 1, 3, int64(h), int64(w))
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// components gives the box around each group of points that are text and touch by a side.
func components(text []float32, h, w int) []image.Rectangle {
	seen := make([]bool, len(text))
	isNew := func(i int) bool { return text[i] > threshold && !seen[i] }
	var boxes []image.Rectangle
	for start := range text {
		if !isNew(start) {
			continue
		}
		seen[start] = true
		points := 0
		var box image.Rectangle
		for todo := []int{start}; len(todo) > 0; points++ {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			x, y := i%w, i/w
			box = box.Union(image.Rect(x, y, x+1, y+1))
			for _, p := range [4]image.Point{{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}} {
				if j := p.Y*w + p.X; p.In(image.Rect(0, 0, w, h)) && isNew(j) {
					seen[j] = true
					todo = append(todo, j)
				}
			}
		}
		if points > smallest {
			boxes = append(boxes, box)
		}
	}
	return boxes
}

// readingOrder sorts boxes into lines from the top, each from the left. A box belongs to
// the line above it when its middle is not below the bottom of the line's first box.
func readingOrder(boxes []image.Rectangle) []image.Rectangle {
	slices.SortFunc(boxes, func(a, b image.Rectangle) int { return cmp.Compare(a.Min.Y, b.Min.Y) })
	for start := 0; start < len(boxes); {
		end := start + 1
		for end < len(boxes) && boxes[end].Min.Y+boxes[end].Max.Y < 2*boxes[start].Max.Y {
			end++
		}
		slices.SortFunc(boxes[start:end], func(a, b image.Rectangle) int { return cmp.Compare(a.Min.X, b.Min.X) })
		start = end
	}
	return boxes
}
