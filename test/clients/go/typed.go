// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func named(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}
}

func template(labels map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "busybox"}}}}
}

// testTyped writes and reads typed objects of several kinds in protobuf, and makes the namespace that the others use.
func testTyped(c clients) {
	core, apps := c.typed.CoreV1(), c.typed.AppsV1()
	ns, err := core.Namespaces().Create(c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	check("a namespace", err == nil && ns.UID != "" && ns.Status.Phase == corev1.NamespaceActive, err, ns)

	maps := core.ConfigMaps(namespace)
	m, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("m", nil), Data: map[string]string{"a": "1"}, BinaryData: map[string][]byte{"b": {0, 255, 1}}}, metav1.CreateOptions{FieldManager: "typed"})
	check("a ConfigMap", err == nil && m.ResourceVersion != "" && m.Data["a"] == "1" && bytes.Equal(m.BinaryData["b"], []byte{0, 255, 1}) && !m.CreationTimestamp.IsZero(), err, m)
	check("its manager", err == nil && len(m.ManagedFields) == 1 && m.ManagedFields[0].Manager == "typed" && bytes.Contains(m.ManagedFields[0].FieldsV1.Raw, []byte("f:binaryData")), m)
	m.Data["a"] = "2"
	newer, err := maps.Update(c, m, metav1.UpdateOptions{})
	check("its update", err == nil && newer.Data["a"] == "2" && newer.ResourceVersion != m.ResourceVersion, err, newer)
	for kind, patch := range map[types.PatchType]string{types.MergePatchType: `{"data":{"a":"3"}}`, types.StrategicMergePatchType: `{"data":{"a":"3","c":null}}`, types.JSONPatchType: `[{"op":"replace","path":"/data/a","value":"3"}]`} {
		m, err = maps.Patch(c, "m", kind, []byte(patch), metav1.PatchOptions{})
		check("a patch of type "+string(kind), err == nil && m.Data["a"] == "3", err, m)
	}
	dry, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "dry-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	check("a dry run", err == nil && len(dry.Name) == len("dry-")+5, err, dry)
	_, err = maps.Get(c, dry.Name, metav1.GetOptions{})
	check("keeps nothing", errors.IsNotFound(err), err)
	check("a delete", maps.Delete(c, "m", metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(m.UID))}) == nil)

	secret, err := core.Secrets(namespace).Create(c, &corev1.Secret{ObjectMeta: named("s", nil), StringData: map[string]string{"k": "v"}}, metav1.CreateOptions{})
	check("a Secret", err == nil && string(secret.Data["k"]) == "v" && len(secret.StringData) == 0 && secret.Type == corev1.SecretTypeOpaque, err)
	service, err := core.Services(namespace).Create(c, &corev1.Service{ObjectMeta: named("s", nil), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	check("a Service", err == nil && service.Spec.ClusterIP != "" && service.Spec.Ports[0].TargetPort.IntValue() == 80 && service.Spec.Ports[0].Protocol == corev1.ProtocolTCP, err, service)

	labels := map[string]string{"app": "d"}
	d, err := apps.Deployments(namespace).Create(c, &appsv1.Deployment{ObjectMeta: named("d", labels), Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template(labels)}}, metav1.CreateOptions{})
	if check("a Deployment", err == nil, err) {
		check("its defaults", *d.Spec.Replicas == 1 && *d.Spec.RevisionHistoryLimit == 10 && d.Spec.Strategy.RollingUpdate.MaxSurge.String() == "25%" && d.Spec.Template.Spec.Containers[0].TerminationMessagePath == "/dev/termination-log", d)
		scale, err := apps.Deployments(namespace).GetScale(c, "d", metav1.GetOptions{})
		check("its scale", err == nil && scale.Spec.Replicas == 1 && scale.Status.Selector == "app=d", err, scale)
		if err == nil {
			scale.Spec.Replicas = 3
			scale, err = apps.Deployments(namespace).UpdateScale(c, "d", scale, metav1.UpdateOptions{})
			check("a new scale", err == nil && scale.Spec.Replicas == 3, err, scale)
		}
		d, err = apps.Deployments(namespace).Get(c, "d", metav1.GetOptions{})
		check("is the Deployment's", err == nil && *d.Spec.Replicas == 3 && d.Generation == 2, err, d)
		d.Status.ObservedGeneration, d.Labels = 2, map[string]string{"app": "other"}
		d, err = apps.Deployments(namespace).UpdateStatus(c, d, metav1.UpdateOptions{})
		check("its status alone", err == nil && d.Status.ObservedGeneration == 2 && d.Labels["app"] == "d" && d.Generation == 2, err, d)
	}
	policy := metav1.DeletePropagationForeground
	err = apps.Deployments(namespace).Delete(c, "d", metav1.DeleteOptions{PropagationPolicy: &policy})
	d, getErr := apps.Deployments(namespace).Get(c, "d", metav1.GetOptions{})
	check("a delete that waits for dependents", err == nil && getErr == nil && d.DeletionTimestamp != nil && len(d.Finalizers) == 1 && d.Finalizers[0] == metav1.FinalizerDeleteDependents, err, getErr, d)
}

func testLists(c clients) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	for i := range 7 {
		_, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named(fmt.Sprint("l", i), map[string]string{"list": "yes", "odd": fmt.Sprint(i%2 == 1)})}, metav1.CreateOptions{})
		check(fmt.Sprint("one of a list ", i), err == nil, err)
	}
	for selector, want := range map[string]int{"list=yes": 7, "list,odd=true": 3, "list,odd!=true": 4, "list,odd in (true,false)": 7, "list,odd notin (false)": 3, "list,!odd": 0} {
		list, err := maps.List(c, metav1.ListOptions{LabelSelector: selector})
		check("labels "+selector, err == nil && len(list.Items) == want, err, len(list.Items))
	}
	list, err := maps.List(c, metav1.ListOptions{FieldSelector: "metadata.name=l3"})
	check("a field selector", err == nil && len(list.Items) == 1 && list.Items[0].Name == "l3", err)
	names, pages, left := map[string]bool{}, 0, int64(0)
	for options := (metav1.ListOptions{LabelSelector: "list", Limit: 3}); pages < 9; options.Continue = list.Continue {
		if list, err = maps.List(c, options); err != nil {
			break
		}
		for _, m := range list.Items {
			names[m.Name] = true
		}
		pages++
		if list.Continue == "" {
			break
		}
	}
	check("pages of a list", err == nil && len(names) == 7 && pages == 3, err, names, pages)
	list, err = maps.List(c, metav1.ListOptions{Limit: 3})
	if err == nil && list.RemainingItemCount != nil {
		left = *list.RemainingItemCount
	}
	check("how many are left", err == nil && left >= 4, err, left)
	err = maps.DeleteCollection(c, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "odd=true"})
	list, listErr := maps.List(c, metav1.ListOptions{LabelSelector: "list"})
	check("a collection deleted", err == nil && listErr == nil && len(list.Items) == 4, err, listErr)
}

func testErrors(c clients) {
	maps := c.typed.CoreV1().ConfigMaps(namespace)
	_, err := maps.Get(c, "absent", metav1.GetOptions{})
	check("NotFound", errors.IsNotFound(err) && err.Error() == `configmaps "absent" not found`, err)
	m, err := maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("e", nil)}, metav1.CreateOptions{})
	check("what errors are about", err == nil, err)
	_, err = maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("e", nil)}, metav1.CreateOptions{})
	check("AlreadyExists", errors.IsAlreadyExists(err), err)
	m.Data = map[string]string{"x": "y"}
	_, err = maps.Update(c, m, metav1.UpdateOptions{})
	check("an update", err == nil, err)
	_, err = maps.Update(c, m, metav1.UpdateOptions{})
	check("Conflict", errors.IsConflict(err), err)
	_, err = maps.Create(c, &corev1.ConfigMap{ObjectMeta: named("Bad_Name", nil)}, metav1.CreateOptions{})
	check("Invalid", errors.IsInvalid(err) && errors.HasStatusCause(err, metav1.CauseTypeFieldValueInvalid), err)
	if status, ok := err.(errors.APIStatus); check("a Status", ok, err) {
		check("its details", status.Status().Details.Kind == "ConfigMap" && status.Status().Details.Causes[0].Field == "metadata.name" && status.Status().Code == 422, status.Status())
	}
	_, err = c.typed.CoreV1().Pods(namespace).Create(c, &corev1.Pod{ObjectMeta: named("p", nil)}, metav1.CreateOptions{})
	check("a Pod without containers", errors.IsInvalid(err) || errors.IsForbidden(err), err)
	_, err = maps.Create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "elsewhere"}}, metav1.CreateOptions{})
	check("BadRequest", errors.IsBadRequest(err), err)
	_, err = c.typed.CoreV1().ConfigMaps("no-such-namespace").Create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
	check("no such namespace", errors.IsNotFound(err), err)
	_, err = maps.List(c, metav1.ListOptions{Continue: "rubbish"})
	check("a token of no list", errors.IsBadRequest(err), err)
	other := metav1.NewUIDPreconditions("other")
	check("a precondition", errors.IsConflict(maps.Delete(c, "e", metav1.DeleteOptions{Preconditions: other})))
}

// testReviews asks what is answered and not kept.
func testReviews(c clients) {
	me, err := c.typed.AuthenticationV1().SelfSubjectReviews().Create(c, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	check("who am I", err == nil && me.Status.UserInfo.Username == "admin", err, me)
	may, err := c.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(c, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "delete", Resource: "nodes"}}}, metav1.CreateOptions{})
	check("what may I", err == nil && may.Status.Allowed, err, may)
	accounts := c.typed.CoreV1().ServiceAccounts(namespace)
	_, err = accounts.Create(c, &corev1.ServiceAccount{ObjectMeta: named("robot", nil)}, metav1.CreateOptions{})
	check("a ServiceAccount", err == nil, err)
	seconds := int64(3600)
	token, err := accounts.CreateToken(c, "robot", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if !check("its token", err == nil && token.Status.Token != "" && !token.Status.ExpirationTimestamp.IsZero(), err) {
		return
	}
	review, err := c.typed.AuthenticationV1().TokenReviews().Create(c, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token}}, metav1.CreateOptions{})
	check("whose it is", err == nil && review.Status.Authenticated && review.Status.User.Username == "system:serviceaccount:"+namespace+":robot", err, review)
}
