module github.com/pitopt/pitopt

go 1.26
