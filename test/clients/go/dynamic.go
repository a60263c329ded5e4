// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/restmapper"
)

type object = map[string]any

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	widgets     = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
)

func widgetDefinition() *unstructured.Unstructured {
	status := object{"type": "object", "properties": object{"seen": object{"type": "integer"}}}
	spec := object{"type": "object", "properties": object{"size": object{"type": "integer", "minimum": int64(1)}, "color": object{"type": "string", "default": "red"}}}
	version := object{"name": "v1", "served": true, "storage": true, "subresources": object{"status": object{}}, "selectableFields": []any{object{"jsonPath": ".spec.color"}},
		"schema": object{"openAPIV3Schema": object{"type": "object", "properties": object{"spec": spec, "status": status}}}}
	return &unstructured.Unstructured{Object: object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": object{"name": "widgets.example.com"},
		"spec": object{"group": "example.com", "scope": "Namespaced", "names": object{"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": []any{"wd"}}, "versions": []any{version}}}}
}

func established(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, each := range conditions {
		if condition, ok := each.(object); ok && condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// testDynamic defines a kind and works with it, without a type of Go's.
func testDynamic(c clients) {
	definition, err := c.dynamic.Resource(definitions).Create(c, widgetDefinition(), metav1.CreateOptions{})
	if !check("a definition", err == nil, err) {
		return
	}
	w, err := c.dynamic.Resource(definitions).Watch(c, metav1.ListOptions{FieldSelector: "metadata.name=widgets.example.com", ResourceVersion: "0"})
	if !check("its watch", err == nil, err) {
		return
	}
	defer w.Stop()
	_, ok := nextWhere(w.ResultChan(), func(e watch.Event) bool {
		o, isObject := e.Object.(*unstructured.Unstructured)
		return isObject && o.GetUID() == definition.GetUID() && established(o)
	})
	check("is established", ok)

	client := c.dynamic.Resource(widgets).Namespace(namespace)
	widget := &unstructured.Unstructured{Object: object{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": object{"name": "w"}, "spec": object{"size": int64(5), "unknown": true}, "status": object{"seen": int64(9)}}}
	made, err := client.Create(c, widget, metav1.CreateOptions{})
	if !check("a custom object", err == nil, err) {
		return
	}
	color, _, _ := unstructured.NestedString(made.Object, "spec", "color")
	_, unknown, _ := unstructured.NestedFieldNoCopy(made.Object, "spec", "unknown")
	_, status := made.Object["status"]
	check("is defaulted and pruned", color == "red" && !unknown && !status && made.GetGeneration() == 1, made.Object)
	made.Object["status"] = object{"seen": int64(2)}
	made, err = client.UpdateStatus(c, made, metav1.UpdateOptions{})
	if check("its status", err == nil, err) {
		seen, _, _ := unstructured.NestedInt64(made.Object, "status", "seen")
		check("is kept", seen == 2 && made.GetGeneration() == 1, made.Object)
	}
	_, err = client.Patch(c, "w", types.MergePatchType, []byte(`{"spec":{"size":0}}`), metav1.PatchOptions{})
	check("its schema's minimum", errors.IsInvalid(err), err)
	_, err = client.Create(c, widget, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	check("strict about unknown fields", errors.IsBadRequest(err) && strings.Contains(err.Error(), `unknown field "spec.unknown"`), err)
	applied, err := client.Apply(c, "w", &unstructured.Unstructured{Object: object{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": object{"name": "w"}, "spec": object{"color": "blue"}}}, metav1.ApplyOptions{FieldManager: "painter", Force: true})
	if check("an apply", err == nil, err) {
		color, _, _ = unstructured.NestedString(applied.Object, "spec", "color")
		size, _, _ := unstructured.NestedInt64(applied.Object, "spec", "size")
		check("changes what it says", color == "blue" && size == 5 && applied.GetGeneration() == 2, applied.Object)
	}
	for selector, want := range map[string]int{"spec.color=blue": 1, "spec.color=red": 0} {
		list, err := client.List(c, metav1.ListOptions{FieldSelector: selector})
		check("custom objects by "+selector, err == nil && len(list.Items) == want, err)
	}
	err = client.Delete(c, "w", metav1.DeleteOptions{})
	_, getErr := client.Get(c, "w", metav1.GetOptions{})
	check("a custom object goes", err == nil && errors.IsNotFound(getErr), err, getErr)
}

// testApply has two managers of one Deployment: the second is told what it takes from the first, and takes it by force.
func testApply(c clients) {
	deployments := c.typed.AppsV1().Deployments(namespace)
	labels := map[string]string{"app": "applied"}
	container := coreapply.Container().WithName("c").WithImage("busybox")
	whole := appsapply.Deployment("applied", namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(2).WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().WithContainers(container))))
	d, err := deployments.Apply(c, whole, metav1.ApplyOptions{FieldManager: "one"})
	if !check("an apply makes", err == nil && *d.Spec.Replicas == 2, err) {
		return
	}
	same, err := deployments.Apply(c, whole, metav1.ApplyOptions{FieldManager: "one"})
	check("the same apply changes nothing", err == nil && same.ResourceVersion == d.ResourceVersion, err)
	replicas := appsapply.Deployment("applied", namespace).WithSpec(appsapply.DeploymentSpec().WithReplicas(5))
	_, err = deployments.Apply(c, replicas, metav1.ApplyOptions{FieldManager: "two"})
	check("another's field", errors.IsConflict(err) && errors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict), err)
	if status, ok := err.(errors.APIStatus); check("a conflict's Status", ok, err) {
		causes := status.Status().Details.Causes
		check("names field and manager", len(causes) == 1 && causes[0].Field == ".spec.replicas" && strings.Contains(causes[0].Message, `"one"`), status.Status())
	}
	d, err = deployments.Apply(c, replicas, metav1.ApplyOptions{FieldManager: "two", Force: true})
	if !check("by force", err == nil && *d.Spec.Replicas == 5, err) {
		return
	}
	two, err := appsapply.ExtractDeployment(d, "two")
	check("it owns that alone", err == nil && two.Spec != nil && *two.Spec.Replicas == 5 && two.Spec.Template == nil, err)
	one, err := appsapply.ExtractDeployment(d, "one")
	check("the first the rest", err == nil && one.Spec != nil && one.Spec.Replicas == nil && *one.Spec.Template.Spec.Containers[0].Image == "busybox", err)
	// What a manager no longer says goes, where nobody else says it.
	container.WithEnv(coreapply.EnvVar().WithName("A").WithValue("1"))
	whole.Spec.Template.Spec.Containers[0] = *container
	whole.Spec.Replicas = nil
	d, err = deployments.Apply(c, whole, metav1.ApplyOptions{FieldManager: "one"})
	check("a field more", err == nil && len(d.Spec.Template.Spec.Containers[0].Env) == 1 && *d.Spec.Replicas == 5, err)
	container.Env = nil
	whole.Spec.Template.Spec.Containers[0] = *container
	d, err = deployments.Apply(c, whole, metav1.ApplyOptions{FieldManager: "one"})
	check("no longer said", err == nil && len(d.Spec.Template.Spec.Containers[0].Env) == 0 && *d.Spec.Replicas == 5, err)
	status, err := deployments.ApplyStatus(c, appsapply.Deployment("applied", namespace).WithStatus(appsapply.DeploymentStatus().WithConditions(appsapply.DeploymentCondition().WithType("Progressing").WithStatus(corev1.ConditionTrue))), metav1.ApplyOptions{FieldManager: "reporter"})
	check("an apply of status", err == nil && len(status.Status.Conditions) == 1 && status.Generation == d.Generation, err)
}

// testDiscovery maps kinds to resources from what the server tells of itself.
func testDiscovery(c clients) {
	discovery := c.typed.Discovery()
	version, err := discovery.ServerVersion()
	check("the version", err == nil && version.Major == "1" && version.Minor == "36", err, version)
	groups, err := restmapper.GetAPIGroupResources(discovery)
	if !check("groups and resources", err == nil, err) {
		return
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), discovery, nil)
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: "apps", Kind: "Deployment"})
	check("a kind's resource", err == nil && mapping.Resource == schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"} && mapping.Scope.Name() == meta.RESTScopeNameNamespace, err)
	mapping, err = mapper.RESTMapping(schema.GroupKind{Kind: "Node"})
	check("of no namespace", err == nil && mapping.Scope.Name() == meta.RESTScopeNameRoot, err)
	for word, want := range map[string]string{"deploy": "Deployment", "po": "Pod", "crd": "CustomResourceDefinition", "wd": "Widget", "service": "Service", "hpa": "HorizontalPodAutoscaler", "ev": "Event"} {
		kind, err := mapper.KindFor(schema.GroupVersionResource{Resource: word})
		check("what "+word+" means", err == nil && kind.Kind == want, err, kind)
	}
	kind, err := mapper.KindFor(schema.GroupVersionResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"})
	check("the preferred version", err == nil && kind.Version == "v2", err, kind)
	preferred, err := discovery.ServerPreferredNamespacedResources()
	check("namespaced resources", err == nil && len(preferred) > 10, err, len(preferred))
	paths, err := discovery.OpenAPIV3().Paths()
	check("OpenAPI v3", err == nil && paths["api/v1"] != nil && paths["apis/apps/v1"] != nil && paths["apis/example.com/v1"] != nil, err)
	document, err := discovery.OpenAPISchema()
	check("OpenAPI v2 in protobuf", err == nil && document.Definitions != nil && len(document.Definitions.AdditionalProperties) > 300, err)
	testDocuments(paths)
}
