#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Expressions in CEL at work: what admission policies refuse, warn of and change, and what the rules of custom resources hold true.

usage: test/integration/policies.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import check, run, wait_for

GROUP = "/apis/admissionregistration.k8s.io/v1/"
NS = "/api/v1/namespaces/default/"
APPS = "/apis/apps/v1/namespaces/default/"
MERGE = "application/merge-patch+json"


def rules(*resources, operations=("CREATE", "UPDATE"), group="", version="v1"):
    return [{"operations": list(operations), "apiGroups": [group], "apiVersions": [version], "resources": list(resources)}]


def put_policy(api, name, spec, mutating=False, actions=("Deny",), **binding):
    sort = "mutating" if mutating else "validating"
    if mutating:
        spec = dict({"reinvocationPolicy": "Never"}, **spec)
    else:
        binding["validationActions"] = list(actions)
    s, o, _ = api.call("POST", GROUP + sort + "admissionpolicies", {"metadata": {"name": name}, "spec": spec})
    check("policy " + name, s == 201, o)
    s, o, _ = api.call("POST", GROUP + sort + "admissionpolicybindings", {"metadata": {"name": name + "-b"}, "spec": dict({"policyName": name}, **binding)})
    check("binding of " + name, s == 201, o)


def drop_policy(api, name, sort="validating"):
    api.call("DELETE", GROUP + sort + "admissionpolicies/" + name)
    api.call("DELETE", GROUP + sort + "admissionpolicybindings/" + name + "-b")


def config_map(name, labels=None, **data):
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def deployment(name, replicas):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}}


def test_deny(site):
    api = site.start_server().api
    spec = {"matchConstraints": {"resourceRules": rules("deployments", group="apps")}, "variables": [{"name": "replicas", "expression": "object.spec.replicas"}, {"name": "twice", "expression": "variables.replicas * 2"}],
            "validations": [{"expression": "variables.twice <= 10", "messageExpression": "'twice is ' + string(variables.twice)"}, {"expression": "namespaceObject.metadata.name == 'default'"},
                            {"expression": "request.userInfo.username != '' && request.operation in ['CREATE', 'UPDATE']"}]}
    put_policy(api, "few", spec)
    s, o, _ = api.call("POST", APPS + "deployments", deployment("many", 6))
    text = "ValidatingAdmissionPolicy 'few' with binding 'few-b' denied request: twice is 12"
    check("too many are refused", s == 422 and o["reason"] == "Invalid" and o["message"] == 'deployments.apps "many" is forbidden: ' + text, o)
    check("counted", 'apiserver_validating_admission_policy_check_total{policy="few",policy_binding="few-b",error_type="invalid_error",enforcement_action="deny"} ' in api.call("GET", "/metrics")[1])
    check("with its cause", o["details"]["causes"] == [{"message": text}] and o["details"]["name"] == "many" and o["details"]["kind"] == "deployments", o)
    s, o, _ = api.call("POST", APPS + "deployments", deployment("few", 5))
    check("few are taken", s == 201, o)
    s, o, _ = api.call("PATCH", APPS + "deployments/few", {"spec": {"replicas": 9}}, MERGE)
    check("an update is judged too", s == 422 and "twice is 18" in o["message"], o)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("other"))
    check("another resource is not", s == 201, o)
    drop_policy(api, "few")
    s, o, _ = api.call("PATCH", APPS + "deployments/few", {"spec": {"replicas": 9}}, MERGE)
    check("nor is anything when the policy is gone", s == 200, o)


def test_reasons(site):
    api = site.start_server().api
    base = {"resourceRules": rules("configmaps")}
    put_policy(api, "teapot", {"matchConstraints": base, "validations": [{"expression": "object.data.a != 'x'", "message": " no x ", "reason": "Forbidden"}, {"expression": "object.data.a != 'y'", "reason": "RequestEntityTooLarge"}, {"expression": "object.data.a != 'z'"}]})
    for value, code, reason, text in (("x", 403, "Forbidden", "no x"), ("y", 413, "RequestEntityTooLarge", "failed expression: object.data.a != 'y'"), ("z", 422, "Invalid", "failed expression: object.data.a != 'z'")):
        s, o, _ = api.call("POST", NS + "configmaps", config_map("c", a=value))
        check("reason " + reason, s == code and o["reason"] == reason and o["code"] == code and o["message"].endswith("denied request: " + text), o)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("c"))
    check("an error refuses", s == 422 and o["message"].endswith("denied request: expression 'object.data.a != 'x'' resulted in error: no such key: data"), o)
    drop_policy(api, "teapot")
    put_policy(api, "calm", {"failurePolicy": "Ignore", "matchConstraints": base, "validations": [{"expression": "object.data.a != 'x'"}]})
    s, o, _ = api.call("POST", NS + "configmaps", config_map("c"))
    check("unless it is to be ignored", s == 201, o)
    drop_policy(api, "calm")
    put_policy(api, "warns", {"matchConstraints": base, "validations": [{"expression": "!has(object.data)"}]}, actions=["Warn", "Audit"])
    s, o, h = api.call("POST", NS + "configmaps", config_map("d", a="1"))
    check("a warning lets it pass", s == 201 and "Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-b': failed expression: !has(object.data)" in h["Warning"], (o, h))


def test_matching(site):
    api = site.start_server().api
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "marked", "labels": {"mark": "yes"}}})
    everything = [{"expression": "false", "message": "no"}]

    def outcome(spec, path=NS + "configmaps", body=None, verb="POST", **binding):
        put_policy(api, "m", dict({"validations": everything}, **spec), **binding)
        s, o, _ = api.call(verb, path, body or config_map("probe", {"l": "1"}))
        if s == 201:
            api.call("DELETE", path + "/probe")
        drop_policy(api, "m")
        return "refused" if s == 422 else s

    all_maps = rules("configmaps")
    marked = {"matchLabels": {"mark": "yes"}}
    check("by resource", outcome({"matchConstraints": {"resourceRules": all_maps}}) == "refused")
    check("by all resources", outcome({"matchConstraints": {"resourceRules": rules("*", group="*", version="*")}}) == "refused")
    check("not by a subresource", outcome({"matchConstraints": {"resourceRules": rules("configmaps/status")}}) == 201)
    check("not by another operation", outcome({"matchConstraints": {"resourceRules": rules("configmaps", operations=["UPDATE"])}}) == 201)
    check("not what is excluded", outcome({"matchConstraints": {"resourceRules": all_maps, "excludeResourceRules": [dict(all_maps[0], resourceNames=["probe"])]}}) == 201)
    check("but others are", outcome({"matchConstraints": {"resourceRules": all_maps, "excludeResourceRules": [dict(all_maps[0], resourceNames=["other"])]}}) == "refused")
    check("by scope", outcome({"matchConstraints": {"resourceRules": [dict(all_maps[0], scope="Cluster")]}}) == 201)
    check("by the namespace's labels", outcome({"matchConstraints": {"resourceRules": all_maps, "namespaceSelector": marked}}, "/api/v1/namespaces/marked/configmaps") == "refused")
    check("which it lacks", outcome({"matchConstraints": {"resourceRules": all_maps, "namespaceSelector": marked}}) == 201)
    check("by the object's labels", outcome({"matchConstraints": {"resourceRules": all_maps, "objectSelector": {"matchLabels": {"l": "2"}}}}) == 201)
    check("by the binding's", outcome({"matchConstraints": {"resourceRules": all_maps}}, matchResources={"namespaceSelector": marked}) == 201)
    check("by a condition", outcome({"matchConstraints": {"resourceRules": all_maps}, "matchConditions": [{"name": "a", "expression": "object.metadata.name != 'probe'"}]}) == 201)
    check("that holds", outcome({"matchConstraints": {"resourceRules": all_maps}, "matchConditions": [{"name": "a", "expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"}]}) == "refused")
    check("a condition that fails", outcome({"matchConstraints": {"resourceRules": all_maps}, "matchConditions": [{"name": "a", "expression": "object.nope == 1"}]}) == "refused")
    hpa = {"metadata": {"name": "probe"}, "spec": {"minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}}}
    old = rules("horizontalpodautoscalers", group="autoscaling", version="v1")
    seen = [{"expression": "object.apiVersion != 'autoscaling/v1' || request.requestKind.version != 'v2'", "message": "seen in v1"}]
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    check("in another version", outcome({"matchConstraints": {"resourceRules": old}, "validations": seen}, path, hpa) == "refused")
    check("but not exactly", outcome({"matchConstraints": {"resourceRules": old, "matchPolicy": "Exact"}, "validations": seen}, path, hpa) == 201)
    api.call("POST", NS + "configmaps", config_map("kept"))
    put_policy(api, "keep", {"matchConstraints": {"resourceRules": rules("configmaps", operations=["DELETE"])}, "validations": [{"expression": "object == null && oldObject.metadata.name != 'kept'"}]})
    s, o, _ = api.call("DELETE", NS + "configmaps/kept")
    check("a deletion", s == 422, o)
    s, o, _ = api.call("PATCH", GROUP + "validatingadmissionpolicies/keep", {"metadata": {"labels": {"x": "y"}}}, MERGE)
    check("policies judge no policy", s == 200, o)


def test_params(site):
    api = site.start_server().api
    crd = {"metadata": {"name": "limits.example.com"}, "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "limits", "kind": "Limit"}, "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
        "openAPIV3Schema": {"type": "object", "properties": {"max": {"type": "integer"}}}}}]}}
    s, o, _ = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    check("a kind of parameters", s == 201, o)
    limits = "/apis/example.com/v1/limits"
    check("is served", wait_for(lambda: api.call("GET", limits)[0] == 200))
    spec = {"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}, "matchConstraints": {"resourceRules": rules("configmaps")}, "validations": [{"expression": "size(object.data) <= params.max", "messageExpression": "'at most ' + string(params.max)"}]}
    put_policy(api, "limit", spec, paramRef={"selector": {"matchLabels": {"use": "yes"}}, "parameterNotFoundAction": "Deny"})
    s, o, _ = api.call("POST", NS + "configmaps", config_map("a", a="1", b="2"))
    check("none are found", s == 422 and o["message"].endswith("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"), o)
    for name, most in (("wide", 3), ("narrow", 1)):
        s, o, _ = api.call("POST", limits, {"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": name, "labels": {"use": "yes"}}, "max": most})
        check("parameters " + name, s == 201, o)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("a", a="1", b="2"))
    check("all that are selected must agree", s == 422 and o["message"].endswith("at most 1"), o)
    api.call("DELETE", limits + "/narrow")
    s, o, _ = api.call("POST", NS + "configmaps", config_map("a", a="1", b="2"))
    check("and do", s == 201, o)
    drop_policy(api, "limit")
    put_policy(api, "named", dict(spec, paramKind={"apiVersion": "v1", "kind": "ConfigMap"}, validations=[{"expression": "object.metadata.name == params.metadata.name || object.data.a == params.data.a"}]), paramRef={"name": "a", "parameterNotFoundAction": "Allow"})
    s, o, _ = api.call("POST", NS + "configmaps", config_map("b", a="2"))
    check("by name, in the object's namespace", s == 422, o)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("b", a="1"))
    check("and as they say", s == 201, o)


def test_mutate(site):
    api = site.start_server().api
    apps = {"resourceRules": rules("deployments", group="apps")}
    put_policy(api, "size", {"matchConstraints": apps, "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: object.spec.replicas + 1}, metadata: Object.metadata{annotations: {'was': string(object.spec.replicas)}}}"}}]}, mutating=True)
    s, o, _ = api.call("POST", APPS + "deployments", deployment("d", 2))
    check("an apply", s == 201 and o["spec"]["replicas"] == 3 and o["metadata"]["annotations"]["was"] == "2" and o["spec"]["template"]["spec"]["containers"][0]["image"] == "one", o)
    drop_policy(api, "size", "mutating")
    patch = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a/b': 'x'}}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('c/d'), value: 'y'}, JSONPatch{op: 'replace', path: '/spec/template/spec/containers/0/image', value: object.metadata.name + ':2'}]"}}
    put_policy(api, "patch", {"matchConstraints": apps, "mutations": [patch]}, mutating=True)
    s, o, _ = api.call("POST", APPS + "deployments", deployment("e", 2))
    check("a JSON patch", s == 201 and o["metadata"]["labels"] == {"a/b": "x", "c/d": "y"} and o["spec"]["template"]["spec"]["containers"][0]["image"] == "e:2", o)
    drop_policy(api, "patch", "mutating")
    maps = {"resourceRules": rules("configmaps")}
    for name, expression, text in (("wrong", "Object{spec: Object.other{x: 1}}", "unexpected type name"), ("atomic", "Object{data: {'a': object.nope}}", "no such key: nope"), ("unknown", "Object{nope: 1}", "field not declared in schema")):
        put_policy(api, name, {"matchConstraints": maps, "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]}, mutating=True)
        s, o, _ = api.call("POST", NS + "configmaps", config_map("x"))
        check("a mutation that fails: " + name, s in (403, 422) and o["message"].startswith("policy '%s' with binding '%s-b' denied request: " % (name, name)) and text in o["message"], o)
        drop_policy(api, name, "mutating")
    put_policy(api, "late", {"reinvocationPolicy": "IfNeeded", "matchConstraints": maps, "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: {'second': object.?data.?first.orValue('none')}}"}}]}, mutating=True)
    put_policy(api, "later", {"matchConstraints": maps, "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: {'first': 'yes'}}"}}]}, mutating=True)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("x"))
    check("one that is asked again", s == 201 and o["data"] == {"first": "yes", "second": "yes"}, o)
    put_policy(api, "judge", {"matchConstraints": maps, "validations": [{"expression": "object.data.first == 'yes'"}]})
    s, o, _ = api.call("POST", NS + "configmaps", config_map("y"))
    check("what is made of it is judged", s == 201, o)


def rules_of(*given):
    return [r if isinstance(r, dict) else {"rule": r} for r in given]


GOOD = {"type": "object", "x-kubernetes-validations": rules_of({"rule": "self.metadata.name != 'bad'", "message": "bad name"}, "self.kind == 'Good'"), "properties": {"spec": {"type": "object", "properties": {
    "a": {"type": "integer", "x-kubernetes-validations": rules_of("self < 10", {"rule": "self >= oldSelf", "message": "must not shrink"})},
    "b": {"type": "string", "maxLength": 20, "x-kubernetes-validations": rules_of({"rule": "self != 'x'", "messageExpression": "'no ' + self"})},
    "when": {"type": "string", "format": "date-time"}, "for": {"type": "string", "format": "duration"}, "data": {"type": "string", "format": "byte"}, "day": {"type": "string", "format": "date"}, "num": {"type": "number"},
    "ios": {"x-kubernetes-int-or-string": True}, "en": {"type": "string", "enum": ["p", "q"]}, "foo-bar": {"type": "integer"}, "namespace": {"type": "string", "maxLength": 5},
    "m": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "string", "maxLength": 10, "x-kubernetes-validations": rules_of("self.size() < 5")}},
    "s": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 10}},
    "k": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "string", "maxLength": 10}, "v": {"type": "integer"}},
          "x-kubernetes-validations": rules_of({"rule": "self.v >= oldSelf.v", "reason": "FieldValueForbidden", "fieldPath": ".v"})}},
    "opt": {"type": "integer", "x-kubernetes-validations": rules_of({"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": True, "message": "begin with 1"})},
    "emb": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-validations": rules_of("self.kind != 'Secret'")},
}, "x-kubernetes-validations": rules_of(
    "!has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')", "!has(self.__for__) || self.__for__ < duration('1h')", "!has(self.data) || self.data == b'hi'", "!has(self.day) || self.day.getFullYear() == 2024", "!has(self.num) || self.num < 2.0",
    "!has(self.ios) || (type(self.ios) == int ? self.ios < 5 : self.ios.contains('%'))", "!has(self.foo__dash__bar) || self.foo__dash__bar == 1", "!has(self.namespace) || self.__namespace__ == 'x'", "!has(self.s) || self.s == ['y', 'x'] || self.s.size() < 2",
    {"rule": "!has(self.a) || self.a != 5", "fieldPath": ".a", "reason": "FieldValueRequired", "message": "five"}, {"rule": "!has(self.a) || self.a != 6", "reason": "FieldValueDuplicate"}, "!has(self.a) || self.a != 7 || self.b == 'y'",
    {"rule": "!has(self.a) || self.a != 8", "messageExpression": "string(1/0)"})}}}


def test_custom_rules(site):
    api = site.start_server().api
    crds, goods, blocked = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/example.com/v1/goods", "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"

    def crd(schema):
        return {"metadata": {"name": "goods.example.com"}, "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "goods", "kind": "Good"}, "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}}

    def causes(o):
        return sorted((c.get("field", ""), c["message"]) for c in o.get("details", {}).get("causes", []))

    spec = {"type": "object", "properties": {"a": {"type": "integer"}, "l": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "string"}}, "x-kubernetes-validations": rules_of("self == oldSelf")}}},
            "x-kubernetes-validations": rules_of("self.nope == 1", "self.a", {"rule": "true", "messageExpression": "self.a"}, {"rule": "true", "optionalOldSelf": True}, "int('x') == 1")}
    s, o, _ = api.call("POST", crds, crd({"type": "object", "properties": {"spec": spec}}))
    at = "spec.validation.openAPIV3Schema.properties[spec]"
    shown = '{"Rule":"%s","Message":"","MessageExpression":"%s","Reason":null,"FieldPath":"","OptionalOldSelf":null}'
    check("rules that are none", s == 422 and causes(o) == [
        (at + ".properties[l].items.x-kubernetes-validations[0].rule", 'Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within ' + at + ".properties[l]"),
        (at + ".x-kubernetes-validations[0].rule", "Invalid value: " + shown % ("self.nope == 1", "") + ": compilation failed: ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1\n | ....^"),
        (at + ".x-kubernetes-validations[1].rule", "Invalid value: " + shown % ("self.a", "") + ": cel expression must evaluate to a bool"),
        (at + ".x-kubernetes-validations[2].messageExpression", "Invalid value: " + shown % ("true", "self.a") + ": messageExpression must evaluate to a string"),
        (at + ".x-kubernetes-validations[3].optionalOldSelf", "Invalid value: true: may not be set if oldSelf is not used in rule"),
        (at + ".x-kubernetes-validations[4].rule", "Invalid value: " + shown % ("int('x') == 1", "") + ": program instantiation failed: type conversion error from 'string' to 'int'")], o)
    s, o, _ = api.call("POST", crds, crd({"type": "object", "properties": {"spec": dict(spec, **{"x-kubernetes-validations": rules_of({"rule": "true", "fieldPath": ".nope"}, {"rule": "true", "reason": "Odd"})})}}))
    check("and what stands beside them", s == 422 and [c[0].rsplit(".", 1)[1] for c in causes(o)] == ["rule", "fieldPath", "reason"], o)
    dear, hint = {"type": "array", "items": {"type": "integer"}, "maxItems": 2000, "x-kubernetes-validations": rules_of("self.all(x, self.all(y, x + y > 0))")}, " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    s, o, _ = api.call("POST", crds, crd({"type": "object", "properties": {"a": dear}}))
    at = "spec.validation.openAPIV3Schema"
    check("a rule that may cost too much", s == 422 and causes(o) == [(at + ".properties[a].x-kubernetes-validations[0].rule", "Forbidden: estimated rule cost exceeds budget by factor of 2.8x" + hint)], o)
    s, o, _ = api.call("POST", crds, crd({"type": "object", "properties": {"a": {"type": "array", "items": dict(dear, maxItems=100)}}}))
    check("for it may run often", s == 422 and causes(o)[-1] == (at + ".properties[a].items.x-kubernetes-validations[0].rule", "Forbidden: estimated rule cost exceeds budget by factor of more than 100x" + hint), o)
    s, o, _ = api.call("POST", crds, crd({"type": "object", "properties": {"f%d" % i: dict(dear, maxItems=1000 + i) for i in range(20)}}))
    check("or rules that do together", s == 422 and causes(o)[0] == (at, "Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.427783x" + hint) and [c[0] for c in causes(o)[1:]] == [at + ".properties[f%d].x-kubernetes-validations[0].rule" % i for i in range(16, 20)], o)
    s, o, _ = api.call("POST", crds, crd(GOOD))
    check("good rules", s == 201, o)
    check("are served", wait_for(lambda: api.call("GET", goods)[0] == 200))
    number = 0
    for given, wants in [
            ({}, []), ({"a": 1}, []), ({"a": 11}, [("spec.a", "Invalid value: 11: failed rule: self < 10")]), ({"b": "x"}, [("spec.b", 'Invalid value: "x": no x')]), ({"when": "2019-01-01T00:00:00Z"}, "when"), ({"when": "2021-01-01T00:00:00Z"}, []),
            ({"for": "2h"}, "for"), ({"for": "1m"}, []), ({"data": "aGk="}, []), ({"data": "aG8="}, "data"), ({"day": "2024-01-01"}, []), ({"day": "2023-01-01"}, "day"), ({"num": 1}, []), ({"num": 2}, "num"), ({"ios": 3}, []), ({"ios": 7}, "ios"),
            ({"ios": "5%"}, []), ({"ios": "5"}, "ios"), ({"m": {"a": "123"}}, []), ({"m": {"a": "12345", "b": "x"}}, [("spec.m[a]", 'Invalid value: "12345": failed rule: self.size() < 5')]), ({"s": ["x", "y"]}, []), ({"s": ["x", "z"]}, "self.s"),
            ({"foo-bar": 1}, []), ({"foo-bar": 2}, "foo__dash__bar"), ({"namespace": "y"}, "__namespace__"), ({"a": 5}, [("spec.a", "Required value: five")]), ({"a": 6}, [("spec", "Duplicate value")]),
            ({"a": 7}, [("spec", "Invalid value: \"object\": no such key: b evaluating rule: !has(self.a) || self.a != 7 || self.b == 'y'")]), ({"a": 7, "b": "y"}, []), ({"a": 8}, [("spec", "Invalid value: failed rule: !has(self.a) || self.a != 8")]), ({"opt": 1}, []),
            ({"opt": 2}, [("spec.opt", "Invalid value: 2: begin with 1")]), ({"emb": {"apiVersion": "v1", "kind": "Secret", "x": 1}}, "self.kind"), ({"a": "x"}, [("<nil>", blocked), ("spec.a", 'Invalid value: "string": spec.a in body must be of type integer: "string"')])]:
        number += 1
        s, o, _ = api.call("POST", goods, {"apiVersion": "example.com/v1", "kind": "Good", "metadata": {"name": "o%d" % number}, "spec": given})
        told = causes(o) if s == 422 else []
        check("rules of %s" % given, told == wants if isinstance(wants, list) else s == 422 and len(told) == 1 and wants in told[0][1], (s, o))
    s, o, _ = api.call("POST", goods, {"apiVersion": "example.com/v1", "kind": "Good", "metadata": {"name": "bad"}})
    check("a rule of the whole object", s == 422 and causes(o) == [("<nil>", "Invalid value: bad name")], o)
    api.call("POST", goods, {"apiVersion": "example.com/v1", "kind": "Good", "metadata": {"name": "u"}, "spec": {"a": 3, "b": "q", "k": [{"n": "a", "v": 3}, {"n": "b", "v": 1}], "opt": 1}})
    for change, wants in (({"a": 2}, [("spec.a", "Invalid value: 2: must not shrink")]), ({"a": 4}, []), ({"k": [{"n": "b", "v": 0}, {"n": "a", "v": 4}]}, [("spec.k[0].v", "Forbidden: failed rule: self.v >= oldSelf.v")]), ({"k": [{"n": "b", "v": 2}, {"n": "c", "v": 0}]}, []), ({"opt": 5}, [])):
        s, o, _ = api.call("PATCH", goods + "/u", {"spec": change}, MERGE)
        check("a change to %s" % change, (causes(o) if s == 422 else []) == wants, (s, o))
    s, o, _ = api.call("GET", crds + "/goods.example.com")
    o["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["b"]["x-kubernetes-validations"].append({"rule": "self != 'q'"})
    s, o, _ = api.call("PUT", crds + "/goods.example.com", o)
    check("stricter rules", s == 200, o)
    check("are in force", wait_for(lambda: api.call("POST", goods + "?dryRun=All", {"apiVersion": "example.com/v1", "kind": "Good", "metadata": {"name": "n"}, "spec": {"b": "q"}})[0] == 422))
    s, o, h = api.call("PATCH", goods + "/u", {"metadata": {"labels": {"x": "y"}}}, MERGE)
    check("what stands there already is warned of", s == 200 and "spec.b: Invalid value: \\\"q\\\": failed rule: self != 'q'" in (h["Warning"] or ""), (s, o, h))


run([test_deny, test_reasons, test_matching, test_params, test_mutate, test_custom_rules])
