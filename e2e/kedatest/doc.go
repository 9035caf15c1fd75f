// Package kedatest has KEDA's own scalers read the manifests of
// deploy/kubernetes/scaling, and report the lag of a real stream and of a real queue.
//
// "make keda-test" runs it. KEDA's scalers are one package, which brings the clients of all
// systems that KEDA knows: .ci/keda copies the files of two of them, unchanged, from KEDA's
// module into the package scalers, which is in no commit.
package kedatest
