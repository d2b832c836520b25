package main

import (
	"image/color"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

var colours = map[string]color.Color{
	"ort": color.RGBA{R: 0x1f, G: 0x5f, B: 0xb4, A: 0xff}, "ort-opt": color.RGBA{R: 0x7f, G: 0xb0, B: 0xe0, A: 0xff},
	"openvino": color.RGBA{R: 0xd6, G: 0x6f, B: 0x00, A: 0xff}, "gomlx": color.RGBA{R: 0x2a, G: 0x8a, B: 0x3a, A: 0xff},
	"torch-csr": color.RGBA{R: 0xc8, G: 0x32, B: 0x28, A: 0xff}, "scipy-csr": color.RGBA{R: 0x8c, G: 0x50, B: 0xa0, A: 0xff},
	"dense": color.Gray{Y: 0x50}, "unmasked": color.Gray{Y: 0x50}, "single": color.Gray{Y: 0x50},
	"ort-cut": color.RGBA{R: 0x7f, G: 0xb0, B: 0xe0, A: 0xff}, "ort-one": color.RGBA{R: 0xd6, G: 0x6f, B: 0x00, A: 0xff}, "ort-sorted": color.RGBA{R: 0x2a, G: 0x8a, B: 0x3a, A: 0xff},
}

// series is ratios of one colour in a plot, with its key.
type series struct {
	key, name string
	of        func(*result) []float64
}

// ratiosTo are ratios of times.
func ratiosTo(keys ...string) (out []series) {
	for _, key := range keys {
		out = append(out, series{key, short[key], ratioTo(key)})
	}
	return out
}

// points are medians with their intervals.
type points struct {
	plotter.XYs
	errors plotter.XErrors
}

func (p *points) XError(i int) (float64, float64) { return p.errors[i].Low, p.errors[i].High }

// plotRatios draws ratios, a line for each workload and a point for each series. It is false where there are
// too few for a picture.
func plotRatios(file, title string, list []*result, rivals []series) (bool, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, "over 1: pitopt is faster"
	names := make([]string, len(list))
	for i, r := range list {
		names[len(list)-1-i] = r.Name
	}
	n, low, high := 0, .9, 1.1
	for _, one := range rivals {
		all := &points{}
		for i, r := range list {
			x := one.of(r)
			if len(x) == 0 {
				continue
			}
			m := medianOf(x)
			all.XYs = append(all.XYs, plotter.XY{X: m.Median, Y: float64(len(list) - 1 - i)})
			all.errors = append(all.errors, struct{ Low, High float64 }{m.Median - m.Low, m.High - m.Median})
			low, high = min(low, m.Low), max(high, m.High)
		}
		if len(all.XYs) == 0 {
			continue
		}
		n += len(all.XYs)
		dots, err := plotter.NewScatter(all)
		if err != nil {
			return false, err
		}
		dots.Color, dots.Shape, dots.Radius = colours[one.key], draw.CircleGlyph{}, vg.Points(2.5)
		bars, err := plotter.NewXErrorBars(all)
		if err != nil {
			return false, err
		}
		bars.Color = colours[one.key]
		p.Add(bars, dots)
		p.Legend.Add(one.name, dots)
	}
	if n < 3 {
		return false, nil
	}
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -.5}, {X: 1, Y: float64(len(list)) - .5}})
	if err != nil {
		return false, err
	}
	one.Color = color.Gray{Y: 0x80}
	p.Add(one)
	p.NominalY(names...)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, ratioTicks{}
	p.X.Min, p.X.Max = low/1.02, high*1.02
	p.Y.Min, p.Y.Max = -.5, float64(len(list))+float64(len(rivals))*.6
	p.Legend.Top = true
	return true, p.Save(18*vg.Centimeter, vg.Length(3+.45*float64(len(list)))*vg.Centimeter, file)
}

// ratioTicks are round ratios.
type ratioTicks struct{}

func (ratioTicks) Ticks(low, high float64) (out []plot.Tick) {
	marks := []float64{.01, .02, .05, .1, .2, .3, .5, .7, .8, .9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 200, 500, 1000}
	for _, m := range marks {
		if m < low || m > high {
			continue
		}
		label := ""
		if high/low < 3 || slices.Contains([]float64{.01, .1, .2, .5, 1, 2, 5, 10, 20, 50, 100, 1000}, m) {
			label = strconv.FormatFloat(m, 'g', 3, 64)
		}
		out = append(out, plot.Tick{Value: m, Label: label})
	}
	return out
}
