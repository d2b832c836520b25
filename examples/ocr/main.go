// Ocr reads the words of scanned pages with two models: one finds text, the other reads
// it.
//
//	go run ./examples/ocr -models DIR page.png...
//
// DIR holds ppocr_v3_det/model.onnx and crnn_rec/model.onnx. Words are printed one a
// line, line by line of the page, each line from left to right.
//
// Each page has its own size, and each has its own number of words of its own widths: both
// models are compiled once and run on whatever shapes come.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

func main() {
	models := flag.String("models", "", "the `folder` with ppocr_v3_det and crnn_rec")
	target := flag.String("target", "auto", "the device")
	flag.Parse()
	if *models == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: ocr -models DIR page.png...")
		os.Exit(2)
	}
	if err := run(*models, *target, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ocr:", err)
		os.Exit(1)
	}
}

func run(models, target string, pages []string) error {
	r, err := open(models, target)
	if err != nil {
		return err
	}
	defer r.close()
	for _, page := range pages {
		words, err := r.read(context.Background(), page)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		for _, w := range words {
			fmt.Println(w)
		}
	}
	return nil
}

// reader holds the two models.
type reader struct{ detector, recogniser *pitopt.Model }

// open compiles the models in dir.
func open(dir, target string) (*reader, error) {
	det, err := pitopt.Load(filepath.Join(dir, "ppocr_v3_det", "model.onnx"), pitopt.Target(target))
	if err != nil {
		return nil, err
	}
	rec, err := pitopt.Load(filepath.Join(dir, "crnn_rec", "model.onnx"), pitopt.Target(target))
	if err != nil {
		return nil, errors.Join(err, det.Close())
	}
	return &reader{det, rec}, nil
}

func (r *reader) close() error { return errors.Join(r.detector.Close(), r.recogniser.Close()) }

// read gives the words of an image file.
func (r *reader) read(ctx context.Context, path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page, _, err := image.Decode(f)
	if err != nil {
		return nil, err
	}
	boxes, err := detect(ctx, r.detector, page)
	if err != nil {
		return nil, err
	}
	return recognise(ctx, r.recogniser, grey(page), boxes)
}

// apply runs a model that has one input and one output.
func apply(ctx context.Context, m *pitopt.Model, x *tensor.Tensor) (*tensor.Tensor, error) {
	out, err := m.Run(ctx, map[string]*tensor.Tensor{m.Inputs()[0].Name: x})
	if err != nil {
		return nil, err
	}
	return out[m.Outputs()[0].Name], nil
}
