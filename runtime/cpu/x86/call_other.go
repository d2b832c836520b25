package x86

const callable = false
