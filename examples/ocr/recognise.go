package main

import (
	"context"
	"image"
	"math"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

const (
	alphabet   = " 0123456789.,:-/ABCDEFGHIJKLMNOPQRSTUVWXYZ" // from class 1 on; class 0 is the blank
	tileHeight = 32
	textHeight = 18
	textTop    = 7
	textLeft   = 6
	ink        = 128 // a darker pixel is ink
)

// recognise reads the words in boxes, all in one batch as wide as the widest needs.
func recognise(ctx context.Context, m *pitopt.Model, page *image.Gray, boxes []image.Rectangle) ([]string, error) {
	var words []*image.Gray
	widest := 0
	for _, box := range boxes {
		word, ok := cutOut(page, box)
		if !ok {
			continue
		}
		words = append(words, word)
		widest = max(widest, roundUp(word.Bounds().Dx()+2*textLeft, 4))
	}
	if len(words) == 0 {
		return nil, nil
	}
	logprobs, err := apply(ctx, m, batch(words, widest))
	if err != nil {
		return nil, err
	}
	return decode(logprobs), nil
}

// cutOut gives the ink in a widened box, scaled to the height of text; false where there
// is none.
func cutOut(page *image.Gray, box image.Rectangle) (*image.Gray, bool) {
	margin := int(0.45*float64(box.Dy())) + 2
	var dark image.Rectangle
	wide := box.Inset(-margin).Intersect(page.Bounds())
	for y := wide.Min.Y; y < wide.Max.Y; y++ {
		for x := wide.Min.X; x < wide.Max.X; x++ {
			if page.GrayAt(x, y).Y < ink {
				dark = dark.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if dark.Empty() {
		return nil, false
	}
	width := math.RoundToEven(float64(dark.Dx()) * textHeight / float64(dark.Dy()))
	return resize(page, dark, max(1, int(width)), textHeight), true
}

// batch puts words on white: [words, 1, tileHeight, width] from -1, black, to 1, white.
func batch(words []*image.Gray, width int) *tensor.Tensor {
	data := make([]float32, len(words)*tileHeight*width)
	for i := range data {
		data[i] = 1
	}
	for n, word := range words {
		for y := range word.Rect.Dy() {
			row := data[(n*tileHeight+textTop+y)*width+textLeft:]
			for x, v := range word.Pix[y*word.Stride:][:word.Rect.Dx()] {
				row[x] = float32(v)/127.5 - 1
			}
		}
	}
	return tensor.Of(data, int64(len(words)), 1, tileHeight, int64(width))
}

// decode takes the likeliest class at each time, [time, word, class], merges repeats,
// and drops blanks (greedy CTC decoding, Graves et al. 2006).
func decode(logprobs *tensor.Tensor) []string {
	p := tensor.Data[float32](logprobs)
	times, count, classes := int(logprobs.Shape()[0]), int(logprobs.Shape()[1]), int(logprobs.Shape()[2])
	words := make([]string, count)
	for n := range words {
		last := 0
		for t := range times {
			row := p[(t*count+n)*classes:][:classes]
			best := 0
			for c, v := range row {
				if v > row[best] {
					best = c
				}
			}
			if best != 0 && best != last {
				words[n] += alphabet[best-1 : best]
			}
			last = best
		}
	}
	return words
}
