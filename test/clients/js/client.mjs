// SPDX-License-Identifier: Apache-2.0

// What programs on the official JavaScript client do, against an API server of the tests: objects of several kinds, patches, apply, watches, an informer, errors.
//
// usage: node client.mjs URL TOKEN     prints "ok NAME" or "FAILED: NAME" for every check; exit status 1 where one failed
import * as k8s from '@kubernetes/client-node';

const NS = 'js';
const PATIENCE = 60000; // of a machine that does much else
const kc = new k8s.KubeConfig();
kc.loadFromOptions({
    clusters: [{ name: 'c', server: process.argv[2], skipTLSVerify: true }],
    users: [{ name: 'u', token: process.argv[3] }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u', namespace: NS }],
    currentContext: 'x',
});
const core = kc.makeApiClient(k8s.CoreV1Api);
const apps = kc.makeApiClient(k8s.AppsV1Api);
const batch = kc.makeApiClient(k8s.BatchV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(kc);
let failures = 0;

function check(name, good, info) {
    if (good) {
        console.log('ok', name);
    } else {
        failures++;
        console.log('FAILED:', name, (JSON.stringify(info) ?? '').slice(0, 800));
    }
    return good;
}

/** The Status that a call is refused with. */
async function refused(call) {
    try {
        await call;
    } catch (e) {
        if (!(e instanceof k8s.ApiException)) throw e;
        return { code: e.code, status: typeof e.body === 'string' ? JSON.parse(e.body) : e.body };
    }
    return { code: 0 };
}

/** Things that come one by one, awaited one by one. */
class Queue {
    constructor() {
        this.things = [];
    }
    put(thing) {
        this.things.push(thing);
        this.wake?.();
    }
    async next() {
        const end = Date.now() + PATIENCE;
        while (this.things.length === 0) {
            if (Date.now() >= end) return {};
            await new Promise((wake) => {
                const timer = setTimeout(wake, end - Date.now());
                this.wake = () => {
                    clearTimeout(timer);
                    wake();
                };
            });
        }
        return this.things.shift();
    }
}

const patchAs = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);
const configMap = (name, labels, data) => ({ metadata: { name, labels }, data });
const podTemplate = (labels, spec) => ({ metadata: { labels }, spec: { containers: [{ name: 'c', image: 'busybox' }], ...spec } });

async function testKinds() {
    const ns = await core.createNamespace({ body: { metadata: { name: NS } } });
    check('a namespace', ns.metadata.uid && ns.status.phase === 'Active', ns);
    const m = await core.createNamespacedConfigMap({ namespace: NS, body: { ...configMap('m', { a: 'b' }, { a: '1' }), binaryData: { b: 'AP8B' } } });
    check('a ConfigMap', m.data.a === '1' && m.binaryData.b === 'AP8B' && m.metadata.creationTimestamp instanceof Date && !isNaN(m.metadata.creationTimestamp), m);
    const newer = await core.replaceNamespacedConfigMap({ name: 'm', namespace: NS, body: { ...m, data: { a: '2' } } });
    check('its update', newer.data.a === '2' && newer.metadata.resourceVersion !== m.metadata.resourceVersion && newer.binaryData.b === 'AP8B', newer);
    check('its read', (await core.readNamespacedConfigMap({ name: 'm', namespace: NS })).data.a === '2');
    const stale = await refused(core.replaceNamespacedConfigMap({ name: 'm', namespace: NS, body: m }));
    check('a stale update', stale.code === 409 && stale.status.reason === 'Conflict', stale);
    const secret = await core.createNamespacedSecret({ namespace: NS, body: { metadata: { name: 's' }, stringData: { k: 'v' } } });
    check('a Secret', secret.data.k === 'dg==' && secret.stringData === undefined, secret);
    const service = await core.createNamespacedService({ namespace: NS, body: { metadata: { name: 's' }, spec: { ports: [{ port: 80, targetPort: 'web' }] } } });
    check('a Service', service.spec.clusterIP && service.spec.ports[0].targetPort === 'web', service);
    await core.createNamespacedServiceAccount({ namespace: NS, body: { metadata: { name: 'default' } } });
    const pod = await core.createNamespacedPod({ namespace: NS, body: { metadata: { generateName: 'p-' }, ...{ spec: podTemplate({}).spec } } });
    check('a Pod', pod.metadata.name.length === 7 && pod.status.phase === 'Pending' && pod.status.qosClass === 'BestEffort', pod);
    const job = await batch.createNamespacedJob({ namespace: NS, body: { metadata: { name: 'j' }, spec: { template: podTemplate({}, { restartPolicy: 'Never' }) } } });
    check('a Job', job.spec.backoffLimit === 6 && job.spec.selector.matchLabels['batch.kubernetes.io/controller-uid'] === job.metadata.uid, job);
    const labels = { app: 'd' };
    const d = await apps.createNamespacedDeployment({ namespace: NS, body: { metadata: { name: 'd', labels }, spec: { selector: { matchLabels: labels }, template: podTemplate(labels) } } });
    check('a Deployment', d.spec.replicas === 1 && d.spec.strategy.rollingUpdate.maxSurge === '25%', d);
    const scale = await apps.replaceNamespacedDeploymentScale({ name: 'd', namespace: NS, body: { metadata: { name: 'd', namespace: NS }, spec: { replicas: 4 } } });
    check('its scale', scale.spec.replicas === 4 && (await apps.readNamespacedDeployment({ name: 'd', namespace: NS })).spec.replicas === 4, scale);
    const status = await apps.patchNamespacedDeploymentStatus({ name: 'd', namespace: NS, body: { status: { observedGeneration: 2 }, spec: { replicas: 9 } } }, patchAs(k8s.PatchStrategy.MergePatch));
    check('its status', status.status.observedGeneration === 2 && status.spec.replicas === 4, status);
    const gone = await core.deleteNamespacedConfigMap({ name: 'm', namespace: NS, body: { preconditions: { uid: m.metadata.uid } } });
    check('a delete', gone.status === 'Success' && gone.details.uid === m.metadata.uid, gone);
}

async function testLists() {
    for (let i = 0; i < 5; i++) await core.createNamespacedConfigMap({ namespace: NS, body: configMap(`l${i}`, { list: 'yes', odd: `${i % 2 === 1}` }) });
    for (const [labelSelector, want] of [['list', 5], ['list=yes,odd=true', 2], ['list,odd!=true', 3], ['list,odd in (true, false)', 5], ['list,!odd', 0]]) {
        const list = await core.listNamespacedConfigMap({ namespace: NS, labelSelector });
        check(`labels ${labelSelector}`, list.items.length === want, list.items.length);
    }
    check('a field selector', (await core.listNamespacedConfigMap({ namespace: NS, fieldSelector: 'metadata.name=l1' })).items[0]?.metadata.name === 'l1');
    check('pods by a field', (await core.listPodForAllNamespaces({ fieldSelector: `metadata.namespace=${NS},status.phase=Pending` })).items.length === 1);
    const names = [];
    let pages = 0;
    for (let token; pages < 9; ) {
        const list = await core.listNamespacedConfigMap({ namespace: NS, labelSelector: 'list', limit: 2, _continue: token });
        names.push(...list.items.map((m) => m.metadata.name));
        pages++;
        token = list.metadata._continue;
        if (!token) break;
    }
    check('pages of a list', pages === 3 && names.join() === 'l0,l1,l2,l3,l4', names);
    await core.deleteCollectionNamespacedConfigMap({ namespace: NS, labelSelector: 'odd=true' });
    check('a collection deleted', (await core.listNamespacedConfigMap({ namespace: NS, labelSelector: 'list' })).items.length === 3);
}

async function testPatches() {
    const at = { name: 'd', namespace: NS };
    const json = await apps.patchNamespacedDeployment({ ...at, body: [{ op: 'test', path: '/metadata/name', value: 'd' }, { op: 'add', path: '/metadata/annotations', value: { 'x/y': '1' } }] }, patchAs(k8s.PatchStrategy.JsonPatch));
    check('a JSON patch', json.metadata.annotations['x/y'] === '1', json.metadata);
    const container = { name: 'more', image: 'busybox' };
    const strategic = await apps.patchNamespacedDeployment({ ...at, body: { spec: { template: { spec: { containers: [container] } } } } }, patchAs(k8s.PatchStrategy.StrategicMergePatch));
    check('a strategic merge patch', strategic.spec.template.spec.containers.map((c) => c.name).join() === 'more,c', strategic.spec.template.spec.containers);
    const merge = await apps.patchNamespacedDeployment({ ...at, body: { metadata: { annotations: { 'x/y': null } }, spec: { template: { spec: { containers: [container] } } } } }, patchAs(k8s.PatchStrategy.MergePatch));
    check('a merge patch', merge.spec.template.spec.containers.length === 1 && merge.metadata.annotations?.['x/y'] === undefined, merge);
    const failed = await refused(apps.patchNamespacedDeployment({ ...at, body: [{ op: 'test', path: '/metadata/name', value: 'other' }] }, patchAs(k8s.PatchStrategy.JsonPatch)));
    check('a test that does not hold', failed.code === 422 && failed.status.reason === 'Invalid', failed);
}

async function testApply() {
    const applied = (data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace: NS }, data });
    const apply = (data, manager, force) => objects.patch(applied(data), undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
    const made = await apply({ a: '1', b: '1' }, 'one', false);
    check('an apply makes', made.data.a === '1' && made.metadata.managedFields[0].operation === 'Apply' && made.metadata.managedFields[0].manager === 'one', made);
    const conflict = await refused(apply({ a: '2' }, 'two', false));
    check('a conflict', conflict.code === 409 && conflict.status.details.causes.length === 1 && conflict.status.details.causes[0].field === '.data.a' && conflict.status.details.causes[0].reason === 'FieldManagerConflict', conflict);
    const forced = await apply({ a: '2' }, 'two', true);
    check('by force', forced.data.a === '2' && forced.data.b === '1', forced);
    const less = await apply({}, 'one', false);
    check('what is no longer said goes', less.data.a === '2' && less.data.b === undefined, less);
    const custom = await refused(objects.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace: NS } }));
    check('it is there already', custom.code === 409 && custom.status.reason === 'AlreadyExists', custom);
    const list = await objects.list('v1', 'ConfigMap', NS, undefined, undefined, undefined, 'metadata.name=applied');
    check('a list of plain objects', list.kind === 'ConfigMapList' && list.items.length === 1, list);
    check('a delete of a plain object', (await objects.delete(applied({}))).status === 'Success');
}

async function testWatch() {
    const events = new Queue();
    const path = `/api/v1/namespaces/${NS}/configmaps`;
    const start = await core.listNamespacedConfigMap({ namespace: NS });
    const watch = new k8s.Watch(kc);
    const ended = new Queue();
    const follow = (query) => watch.watch(path, { labelSelector: 'watched', ...query }, (type, object) => events.put({ type, object }), (err) => ended.put({ err }));
    const running = await follow({ resourceVersion: start.metadata.resourceVersion, allowWatchBookmarks: true });
    await core.createNamespacedConfigMap({ namespace: NS, body: configMap('w', { watched: '' }, { n: '1' }) });
    await core.patchNamespacedConfigMap({ name: 'w', namespace: NS, body: { data: { n: '2' } } }, patchAs(k8s.PatchStrategy.MergePatch));
    await core.deleteNamespacedConfigMap({ name: 'w', namespace: NS });
    const seen = [await events.next(), await events.next(), await events.next()];
    check('a watch', seen.map((e) => `${e.type} ${e.object?.data.n}`).join() === 'ADDED 1,MODIFIED 2,DELETED 2', seen);
    running.abort();
    await ended.next();
    await follow({ resourceVersion: start.metadata.resourceVersion, timeoutSeconds: 1 });
    const again = [await events.next(), await events.next(), await events.next()];
    check('the same from where it began', again.map((e) => e.type).join() === 'ADDED,MODIFIED,DELETED', again);
    check('a watch ends in time', 'err' in (await ended.next()));
    await follow({ resourceVersion: 'rubbish' }); // Kubernetes, too, calls this its own mistake
    const failed = await ended.next();
    check('a watch from nowhere', failed.err && failed.err.statusCode === 500, failed.err);
}

async function testInformer() {
    const changes = new Queue();
    const labelSelector = 'informed';
    await core.createNamespacedConfigMap({ namespace: NS, body: configMap('before', { informed: '' }) });
    const informer = k8s.makeInformer(kc, `/api/v1/namespaces/${NS}/configmaps`, () => core.listNamespacedConfigMap({ namespace: NS, labelSelector }), labelSelector);
    for (const verb of ['add', 'update', 'delete']) informer.on(verb, (o) => changes.put({ verb, name: o.metadata.name, object: o }));
    informer.on('error', (e) => changes.put({ verb: 'error', name: String(e) }));
    const expect = async (verb, name) => {
        const change = await changes.next();
        check(`an informer sees ${verb} ${name}`, change.verb === verb && change.name === name, change);
    };
    await informer.start();
    await expect('add', 'before');
    await core.createNamespacedConfigMap({ namespace: NS, body: configMap('after', { informed: '' }) });
    await expect('add', 'after');
    await core.patchNamespacedConfigMap({ name: 'before', namespace: NS, body: { data: { x: 'y' } } }, patchAs(k8s.PatchStrategy.MergePatch));
    await expect('update', 'before');
    check('its cache', informer.list(NS).length === 2 && informer.get('before', NS).data.x === 'y', informer.list());
    await core.deleteNamespacedConfigMap({ name: 'after', namespace: NS });
    await expect('delete', 'after');
    await informer.stop();
}

async function testDiscovery() {
    const version = await kc.makeApiClient(k8s.VersionApi).getCode();
    check('the version', version.gitVersion.startsWith('v1.36'), version);
    const groups = await kc.makeApiClient(k8s.ApisApi).getAPIVersions();
    check('groups', groups.groups.some((g) => g.name === 'apps' && g.preferredVersion.groupVersion === 'apps/v1'), groups);
    const resources = await apps.getAPIResources();
    check('resources', resources.resources.some((r) => r.name === 'deployments' && r.kind === 'Deployment' && r.namespaced && r.shortNames.includes('deploy')), resources);
    check('resources of the core', (await core.getAPIResources()).resources.some((r) => r.name === 'pods/eviction' && r.group === 'policy'));
    const review = await kc.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } } });
    check('what may I', review.status.allowed === true, review);
    const definition = await kc.makeApiClient(k8s.ApiextensionsV1Api).createCustomResourceDefinition({ body: {
        metadata: { name: 'gadgets.example.com' },
        spec: { group: 'example.com', scope: 'Namespaced', names: { plural: 'gadgets', kind: 'Gadget' }, versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } } } } }] },
    } });
    check('a definition', definition.spec.names.singular === 'gadget' && definition.spec.conversion.strategy === 'None', definition);
    const established = new Queue();
    const running = await new k8s.Watch(kc).watch('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { fieldSelector: 'metadata.name=gadgets.example.com' }, (type, o) => {
        if (o.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True')) established.put({ type });
    }, () => {});
    check('is established', (await established.next()).type !== undefined);
    running.abort();
    const custom = kc.makeApiClient(k8s.CustomObjectsApi);
    const at = { group: 'example.com', version: 'v1', namespace: NS, plural: 'gadgets' };
    const made = await custom.createNamespacedCustomObject({ ...at, body: { apiVersion: 'example.com/v1', kind: 'Gadget', metadata: { name: 'g' }, spec: { size: 3 } } });
    check('a custom object', made.spec.size === 3 && made.metadata.generation === 1, made);
    const wrong = await refused(custom.patchNamespacedCustomObject({ ...at, name: 'g', body: { spec: { size: 'big' } } }, patchAs(k8s.PatchStrategy.MergePatch)));
    check('against its schema', wrong.code === 422 && wrong.status.details.causes[0].field === 'spec.size', wrong);
    check('custom objects', (await custom.listNamespacedCustomObject(at)).items.length === 1);
}

async function testErrors() {
    const absent = await refused(core.readNamespacedPod({ name: 'absent', namespace: NS }));
    check('NotFound', absent.code === 404 && absent.status.kind === 'Status' && absent.status.reason === 'NotFound' && absent.status.message === 'pods "absent" not found' && absent.status.details.name === 'absent', absent);
    const invalid = await refused(core.createNamespacedPod({ namespace: NS, body: { metadata: { name: 'Bad' }, spec: { containers: [{ name: 'c', image: 'i' }] } } }));
    check('Invalid', invalid.code === 422 && invalid.status.reason === 'Invalid' && invalid.status.details.causes.some((c) => c.field === 'metadata.name'), invalid);
    const bad = await refused(core.listNamespacedPod({ namespace: NS, labelSelector: '=,=' }));
    check('BadRequest', bad.code === 400 && bad.status.reason === 'BadRequest', bad);
    const strict = await refused(core.patchNamespacedConfigMap({ name: 'l0', namespace: NS, fieldValidation: 'Strict', body: { nope: 1 } }, patchAs(k8s.PatchStrategy.MergePatch)));
    check('strict', strict.code >= 400 && /unknown field "nope"/.test(strict.status.message), strict);
    const stranger = new k8s.KubeConfig();
    stranger.loadFromOptions({ clusters: kc.clusters, users: [{ name: 'u', token: 'of-nobody' }], contexts: kc.contexts, currentContext: 'x' });
    const unknown = await refused(stranger.makeApiClient(k8s.CoreV1Api).listNode());
    check('Unauthorized', unknown.code === 401, unknown); // this client keeps no body of a 401
}

for (const test of [testKinds, testLists, testPatches, testApply, testWatch, testInformer, testDiscovery, testErrors]) {
    try {
        await test();
    } catch (e) {
        check(test.name, false, String(e?.stack ?? e) + String(e?.cause ?? ''));
    }
}
process.exit(failures ? 1 : 0);
