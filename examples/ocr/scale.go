package main

import (
	"image"
	"math"
)

// grey gives the luma of ITU-R BT.601, with its corner at the origin.
func grey(page image.Image) *image.Gray {
	b := page.Bounds()
	g := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			red, green, blue, _ := page.At(b.Min.X+x, b.Min.Y+y).RGBA()
			luma := 0.299*float64(red>>8) + 0.587*float64(green>>8) + 0.114*float64(blue>>8)
			g.Pix[y*g.Stride+x] = clamp(luma)
		}
	}
	return g
}

// resize scales part of an image, first its rows, then its columns.
func resize(src *image.Gray, part image.Rectangle, width, height int) *image.Gray {
	rows := image.NewGray(image.Rect(0, 0, width, part.Dy()))
	for x, taps := range bicubic(part.Dx(), width) {
		for y := range part.Dy() {
			rows.Pix[y*rows.Stride+x] = taps.at(func(i int) uint8 { return src.GrayAt(part.Min.X+i, part.Min.Y+y).Y })
		}
	}
	out := image.NewGray(image.Rect(0, 0, width, height))
	for y, taps := range bicubic(part.Dy(), height) {
		for x := range width {
			out.Pix[y*out.Stride+x] = taps.at(func(i int) uint8 { return rows.GrayAt(x, i).Y })
		}
	}
	return out
}

// taps are the weights of neighbouring source points in one target point.
type taps struct {
	first   int
	weights []float64
}

func (t taps) at(source func(i int) uint8) uint8 {
	sum := 0.0
	for i, w := range t.weights {
		sum += w * float64(source(t.first+i))
	}
	return clamp(sum)
}

// bicubic gives the taps of each of out points over in points. When it shrinks, the
// kernel grows with the step, so that no source point is left out (antialiasing).
func bicubic(in, out int) []taps {
	step := float64(in) / float64(out)
	stretch := max(step, 1)
	list := make([]taps, out)
	for i := range list {
		centre := (float64(i) + 0.5) * step
		first := max(0, int(centre-2*stretch+0.5))
		end := min(in, int(centre+2*stretch+0.5))
		weights := make([]float64, end-first)
		sum := 0.0
		for j := range weights {
			weights[j] = cubic((float64(first+j) + 0.5 - centre) / stretch)
			sum += weights[j]
		}
		for j := range weights {
			weights[j] /= sum
		}
		list[i] = taps{first, weights}
	}
	return list
}

// cubic is the convolution kernel of Keys (1981) with a = -0.5.
func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

func clamp(v float64) uint8 { return uint8(min(max(math.Floor(v+0.5), 0), 255)) }
