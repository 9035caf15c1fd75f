// Package imagebuild builds images from Dockerfiles without a container engine, so
// that tests can look into them and run them.
//
// A stage that starts from an image of Go is this machine, seen through an overlay:
// its own Go is used, and what the stage's commands write goes with the stage. The
// commands run as they stand, by the shell, with chroot in a mount namespace of their
// own: that takes Linux and root. A final stage may only copy and describe, since
// nothing in it could run a command.
//
// What is not understood is an error, never left out: an image that differs from what
// docker build makes would prove nothing.
package imagebuild
