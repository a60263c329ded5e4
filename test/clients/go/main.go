// SPDX-License-Identifier: Apache-2.0

// What programs on client-go do, against an API server of the tests: typed clients that speak protobuf, informers, the dynamic client, apply, leases.
//
// usage: client URL TOKEN     prints "ok NAME" or "FAILED: NAME" for every check; exit status 1 where one failed
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	namespace = "client-go"
	patience  = 60 * time.Second // of a machine that does much else
)

// clients is what each test gets. The typed client speaks protobuf, the dynamic one JSON.
type clients struct {
	context.Context
	typed   kubernetes.Interface
	dynamic dynamic.Interface
}

var failures int

func check(name string, good bool, info ...any) bool {
	if good {
		fmt.Println("ok", name)
		return true
	}
	failures++
	text := strings.ReplaceAll(fmt.Sprint(info...), "\n", " ")
	fmt.Printf("FAILED: %s %.800s\n", name, text)
	return false
}

// next gives what comes through a channel, and false where nothing does.
func next[T any](from <-chan T) (value T, got bool) {
	select {
	case value, got = <-from:
	case <-time.After(patience):
	}
	return value, got
}

// nextWhere skips what does not fit.
func nextWhere[T any](from <-chan T, fits func(T) bool) (value T, got bool) {
	for {
		if value, got = next(from); !got || fits(value) {
			return value, got
		}
	}
}

func main() {
	config := &rest.Config{Host: os.Args[1], BearerToken: os.Args[2], QPS: 500, Burst: 500, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	c := clients{Context: ctx, typed: kubernetes.NewForConfigOrDie(protobuf), dynamic: dynamic.NewForConfigOrDie(config)}
	for _, test := range []func(clients){testTyped, testLists, testErrors, testReviews, testWatch, testInformer, testDynamic, testApply, testElection, testRetry, testDiscovery} {
		test(c)
	}
	if failures > 0 {
		os.Exit(1)
	}
}
