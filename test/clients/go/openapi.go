// SPDX-License-Identifier: Apache-2.0

package main

import (
	"reflect"

	openapiv3 "github.com/google/gnostic-models/openapiv3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/client-go/openapi"
)

const (
	inProtobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	askedOfOld = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// plain is a message as maps and lists; a value in YAML counts by what it says, not by how.
func plain(m protoreflect.Message) any {
	if text, ok := m.Interface().(*openapiv3.Any); ok {
		var value any
		if err := yaml.Unmarshal([]byte(text.GetYaml()), &value); err != nil {
			return err.Error()
		}
		return value
	}
	out := object{}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList():
			list := []any{}
			for i := 0; i < value.List().Len(); i++ {
				if field.Message() != nil {
					list = append(list, plain(value.List().Get(i).Message()))
				} else {
					list = append(list, value.List().Get(i).Interface())
				}
			}
			out[string(field.Name())] = list
		case field.Message() != nil:
			out[string(field.Name())] = plain(value.Message())
		default:
			out[string(field.Name())] = value.Interface()
		}
		return true
	})
	return out
}

// testDocuments compares each document in protobuf with what the official library makes of it in JSON.
func testDocuments(paths map[string]openapi.GroupVersion) {
	for path, document := range paths {
		text, err := document.Schema("application/json")
		if !check("JSON of "+path, err == nil, err) {
			continue
		}
		want, err := openapiv3.ParseDocument(text)
		check("is a document: "+path, err == nil, err)
		for _, accept := range []string{inProtobuf, askedOfOld} {
			packed, err := document.Schema(accept)
			got := &openapiv3.Document{}
			if check("protobuf of "+path, err == nil && proto.Unmarshal(packed, got) == nil && len(got.ProtoReflect().GetUnknown()) == 0, err) {
				check("says the same: "+path, reflect.DeepEqual(plain(got.ProtoReflect()), plain(want.ProtoReflect())), accept)
			}
		}
	}
}
