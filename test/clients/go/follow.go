// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	informers "k8s.io/client-go/informers/core/v1"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

// testWatch follows what a selector selects: an object that leaves it is deleted, to the watcher.
func testWatch(c clients) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	list, err := maps.List(c, metav1.ListOptions{LabelSelector: "watched"})
	if !check("what a watch starts from", err == nil, err) {
		return
	}
	w, err := maps.Watch(c, metav1.ListOptions{LabelSelector: "watched", ResourceVersion: list.ResourceVersion})
	if !check("a watch", err == nil, err) {
		return
	}
	defer w.Stop()
	m, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("w", map[string]string{"watched": ""}), Data: map[string]string{"n": "1"}}, metav1.CreateOptions{})
	check("what is watched", err == nil, err)
	event, _ := next(w.ResultChan())
	check("an event of protobuf", event.Type == watch.Added && event.Object.(*corev1.ConfigMap).UID == m.UID, event)
	m.Data["n"] = "2"
	m, err = maps.Update(c, m, metav1.UpdateOptions{})
	event, _ = next(w.ResultChan())
	check("a change", err == nil && event.Type == watch.Modified && event.Object.(*corev1.ConfigMap).ResourceVersion == m.ResourceVersion, err, event)
	m.Labels = nil
	_, err = maps.Update(c, m, metav1.UpdateOptions{})
	event, _ = next(w.ResultChan())
	check("it leaves the selector", err == nil && event.Type == watch.Deleted && event.Object.(*corev1.ConfigMap).Data["n"] == "2", err, event)

	yes := true
	initial, err := maps.Watch(c, metav1.ListOptions{FieldSelector: "metadata.name=w", SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	if !check("a list that streams", err == nil, err) {
		return
	}
	defer initial.Stop()
	event, _ = next(initial.ResultChan())
	check("what is there", event.Type == watch.Added && event.Object.(*corev1.ConfigMap).Name == "w", event)
	event, _ = next(initial.ResultChan())
	check("its end", event.Type == watch.Bookmark && event.Object.(*corev1.ConfigMap).Annotations[metav1.InitialEventsAnnotationKey] == "true", event)
}

type change struct {
	verb     string
	old, new *corev1.ConfigMap
}

// testInformer has a shared informer whose watch ends every two seconds and goes on where it ended, and which tells everything again from time to time.
func testInformer(c clients) {
	ctx, cancel := context.WithCancel(c)
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	informer := informers.NewFilteredConfigMapInformer(c.typed, namespace, time.Second, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}, func(o *metav1.ListOptions) {
		seconds := int64(2)
		o.LabelSelector, o.TimeoutSeconds = "informed", &seconds
	})
	changes := make(chan change, 1000)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { changes <- change{"add", nil, o.(*corev1.ConfigMap)} },
		UpdateFunc: func(o, n any) { changes <- change{"update", o.(*corev1.ConfigMap), n.(*corev1.ConfigMap)} },
		DeleteFunc: func(o any) {
			if m, ok := o.(*corev1.ConfigMap); ok {
				changes <- change{"delete", m, nil}
			}
		},
	})
	check("a handler", err == nil, err)
	make := func(name string) *corev1.ConfigMap {
		m, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named(name, map[string]string{"informed": ""}), Data: map[string]string{"n": "0"}}, metav1.CreateOptions{})
		check("made "+name, err == nil, err)
		return m
	}
	make("before")
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	defer running.Wait()
	defer cancel()
	patient, done := context.WithTimeout(ctx, patience)
	defer done()
	check("an informer is in step", cache.WaitForCacheSync(patient.Done(), informer.HasSynced))
	got, _ := next(changes)
	check("what was there before", got.verb == "add" && got.new.Name == "before", got)
	after := make("after")
	_, ok := nextWhere(changes, func(g change) bool { return g.verb == "add" && g.new.Name == "after" })
	check("what came after", ok)
	again, ok := nextWhere(changes, func(g change) bool {
		return g.verb == "update" && g.new.Name == "before" && g.old.ResourceVersion == g.new.ResourceVersion
	})
	check("told again", ok, again)
	// Several watches later nothing is missed.
	for i := 1; i <= 4; i++ {
		after.Data["n"] = strconv.Itoa(i)
		if after, err = maps.Update(c, after, metav1.UpdateOptions{}); !check(fmt.Sprint("an update ", i), err == nil, err) {
			return
		}
		_, ok = nextWhere(changes, func(g change) bool { return g.verb == "update" && g.new.ResourceVersion == after.ResourceVersion })
		check(fmt.Sprint("is seen ", i), ok)
		_, ok = nextWhere(changes, func(g change) bool {
			return g.verb == "update" && g.new.Name == "before" && g.old.ResourceVersion == g.new.ResourceVersion
		})
		check(fmt.Sprint("told again ", i), ok)
	}
	cached, err := listers.NewConfigMapLister(informer.GetIndexer()).ConfigMaps(namespace).Get("after")
	check("the lister's", err == nil && cached.Data["n"] == "4", err, cached)
	check("a delete of the informed", maps.Delete(c, "after", metav1.DeleteOptions{}) == nil)
	_, ok = nextWhere(changes, func(g change) bool { return g.verb == "delete" && g.old.Name == "after" })
	check("is seen", ok)
}

type candidate struct {
	led, lost, sawOther chan string
	stop                context.CancelFunc
	done                sync.WaitGroup
}

func (k *candidate) run(c clients, name string) error {
	k.led, k.lost, k.sawOther = make(chan string, 10), make(chan string, 10), make(chan string, 10)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          &resourcelock.LeaseLock{LeaseMeta: named("election", nil), Client: c.typed.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: name}},
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: 100 * time.Millisecond, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { k.led <- name },
			OnStoppedLeading: func() { k.lost <- name },
			OnNewLeader: func(leader string) {
				if leader != name {
					k.sawOther <- leader
				}
			},
		},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(c)
	k.stop = stop
	k.done.Go(func() { elector.Run(ctx) })
	return nil
}

// testElection lets the second of two candidates lead once the first steps back, long before the lease would have run out.
func testElection(c clients) {
	var first, second candidate
	if err := first.run(c, "first"); !check("a candidate", err == nil, err) {
		return
	}
	_, ok := next(first.led)
	check("the first leads", ok)
	if err := second.run(c, "second"); !check("another candidate", err == nil, err) {
		return
	}
	leader, _ := next(second.sawOther)
	check("the second sees it", leader == "first" && len(second.led) == 0, leader)
	first.stop()
	_, ok = next(first.lost)
	check("the first steps back", ok)
	_, ok = next(second.led)
	check("the second leads", ok)
	lease, err := c.typed.CoordinationV1().Leases(namespace).Get(c, "election", metav1.GetOptions{})
	check("the lease", err == nil && *lease.Spec.HolderIdentity == "second" && *lease.Spec.LeaseTransitions == 1 && lease.Spec.RenewTime.Nanosecond()%1000 == 0, err, lease)
	second.stop()
	first.done.Wait()
	second.done.Wait()
}

// testRetry has several writers of one object: each conflict is seen and tried again, so no increment is lost.
func testRetry(c clients) {
	const writers, increments = 4, 5
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	_, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("counter", nil), Data: map[string]string{"n": "0"}}, metav1.CreateOptions{})
	check("a counter", err == nil, err)
	var (
		writing sync.WaitGroup
		errs    = make(chan error, writers*increments)
		backoff = wait.Backoff{Steps: 200, Duration: time.Millisecond, Factor: 1.1, Jitter: 0.5, Cap: 50 * time.Millisecond}
	)
	for range writers {
		writing.Go(func() {
			for range increments {
				errs <- retry.RetryOnConflict(backoff, func() error {
					m, err := maps.Get(c, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					n, _ := strconv.Atoi(m.Data["n"])
					m.Data["n"] = strconv.Itoa(n + 1)
					_, err = maps.Update(c, m, metav1.UpdateOptions{})
					return err
				})
			}
		})
	}
	writing.Wait()
	close(errs)
	for e := range errs {
		if e != nil {
			err = e
		}
	}
	m, getErr := maps.Get(c, "counter", metav1.GetOptions{})
	check("every increment", err == nil && getErr == nil && m.Data["n"] == strconv.Itoa(writers*increments), err, getErr, m.Data)
}
