{{- define "kubehealer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubehealer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kubehealer.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "kubehealer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kubehealer.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kubehealer.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kubehealer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kubehealer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "kubehealer.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: kubehealer
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* metadata of an object. Takes root, name, and perhaps namespace (false: none), labels, annotations, component. */}}
{{- define "kubehealer.metadata" -}}
{{- $root := .root -}}
name: {{ .name }}
{{- if not (eq (toString .namespace) "false") }}
namespace: {{ default (include "kubehealer.namespace" $root) .namespace }}
{{- end }}
labels:
  {{- include "kubehealer.labels" $root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kubehealer.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "kubehealer.imagePullSecrets" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The namespaces watched, as JSON: what is asked for, or the release's own where only Roles are wanted. */}}
{{- define "kubehealer.namespaces" -}}
{{- if or .Values.watch.namespaces .Values.rbac.useClusterRole }}
{{- toJson .Values.watch.namespaces }}
{{- else }}
{{- toJson (list (include "kubehealer.namespace" .)) }}
{{- end }}
{{- end }}

{{/* Nodes belong to the cluster: a Role cannot grant them. */}}
{{- define "kubehealer.watchesNodes" -}}
{{- if and .Values.watch.nodes .Values.rbac.useClusterRole }}true{{ end }}
{{- end }}

{{/* What is read, from what is switched on. Never Secrets, never ConfigMaps, never anything but reading. */}}
{{- define "kubehealer.rules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- if .Values.watch.logs }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}
{{- if .Values.watch.events }}
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
{{- if .Values.watch.owners }}
- apiGroups: [apps]
  resources: [daemonsets, deployments, replicasets, statefulsets]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: [list, watch]
{{- end }}
{{- if include "kubehealer.watchesNodes" . }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod of a workload. Takes root, component, and args: what sets this component apart. */}}
{{- define "kubehealer.podTemplate" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
metadata:
  labels:
    {{- include "kubehealer.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: kubehealer
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "kubehealer.serviceAccountName" $root }}
  automountServiceAccountToken: true
  # The links of a Service called kubehealer would be variables called KUBEHEALER_*: that is how flags are set.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with include "kubehealer.imagePullSecrets" $root }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $values.hostNetwork }}
  hostNetwork: true
  {{- end }}
  {{- with default (ternary "ClusterFirstWithHostNet" "" $values.hostNetwork) $values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  containers:
    - name: kubehealer
      image: {{ include "kubehealer.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args:
        - watch
        - {{ printf "--listen=[::]:%d" (int $values.containerPort) | quote }}
        - {{ printf "--probe-listen=[::]:%d" (int $values.probePort) | quote }}
        - {{ printf "--allowed-hosts=%s" (include "kubehealer.hosts" $root) | quote }}
        {{- if $values.secureServing.enabled }}
        - --tls-cert-file=/etc/kubehealer/tls/tls.crt
        - --tls-private-key-file=/etc/kubehealer/tls/tls.key
        - --authorization
        {{- end }}
        - --log-format={{ $values.log.format }}
        {{- with include "kubehealer.namespaces" $root | fromJsonArray }}
        - --namespaces={{ join "," . }}
        {{- end }}
        {{- with $values.watch.selector }}
        - {{ printf "--selector=%s" . | quote }}
        {{- end }}
        {{- with $values.watch.fieldSelector }}
        - {{ printf "--field-selector=%s" . | quote }}
        {{- end }}
        {{- if not $values.watch.events }}
        - --no-events
        {{- end }}
        {{- if not $values.watch.owners }}
        - --no-owners
        {{- end }}
        {{- if not (include "kubehealer.watchesNodes" $root) }}
        - --no-nodes
        {{- end }}
        {{- if $values.watch.logs }}
        - --logs
        {{- end }}
        {{- if not (kindIs "invalid" $values.watch.maxSeries) }}
        - --max-series={{ int64 $values.watch.maxSeries }}
        {{- end }}
        {{- with $values.ownerLabels }}
        - --owner-labels={{ join "," . }}
        {{- end }}
        {{- with $values.clusterName }}
        - {{ printf "--cluster-name=%s" . | quote }}
        {{- end }}
        {{- with $values.alertmanagerUrl }}
        - {{ printf "--alertmanager-url=%s" . | quote }}
        {{- end }}
        {{- if $values.rules }}
        - --rules=/etc/kubehealer/rules
        {{- end }}
        {{- range .args }}
        - {{ . }}
        {{- end }}
        {{- range $values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: RUST_LOG
          value: {{ $values.log.level | quote }}
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ $values.containerPort }}
          protocol: TCP
        - name: probes
          containerPort: {{ $values.probePort }}
          protocol: TCP
      {{- with $values.startupProbe }}
      startupProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.livenessProbe }}
      livenessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.readinessProbe }}
      readinessProbe:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or $values.rules $values.extraVolumeMounts $values.secureServing.enabled }}
      volumeMounts:
        {{- if $values.secureServing.enabled }}
        - name: tls
          mountPath: /etc/kubehealer/tls
          readOnly: true
        {{- end }}
        {{- if $values.rules }}
        - name: rules
          mountPath: /etc/kubehealer/rules
          readOnly: true
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
  {{- if or $values.rules $values.extraVolumes $values.secureServing.enabled }}
  volumes:
    {{- if $values.secureServing.enabled }}
    - name: tls
      secret:
        secretName: {{ $values.secureServing.secretName }}
        defaultMode: 0440
    {{- end }}
    {{- if $values.rules }}
    - name: rules
      configMap:
        name: {{ include "kubehealer.fullname" $root }}-rules
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The names under which the Service is asked inside the cluster, and those that are allowed beside them. */}}
{{- define "kubehealer.hosts" -}}
{{- $name := printf "%s.%s" (include "kubehealer.fullname" .) (include "kubehealer.namespace" .) -}}
{{- join "," (concat (list $name) .Values.allowedHosts) }}
{{- end }}

{{- define "kubehealer.clusterName" -}}
{{- $name := include "kubehealer.fullname" . -}}
{{- if eq $name (include "kubehealer.namespace" .) }}{{ $name }}{{ else }}{{ printf "%s-%s" (include "kubehealer.namespace" .) $name }}{{ end }}
{{- end }}

{{/* Fails on what the schema cannot say. */}}
{{- define "kubehealer.validate" -}}
{{- if and .Values.secureServing.enabled (not .Values.secureServing.secretName) }}
{{- fail "secureServing.enabled needs secureServing.secretName: a Secret of type kubernetes.io/tls" }}
{{- end }}
{{- if and .Values.secureServing.enabled .Values.podMonitor.enabled (not .Values.secureServing.monitorToken) }}
{{- fail "podMonitor.enabled with secureServing.enabled needs secureServing.monitorToken: a PodMonitor cannot send the token of Prometheus' own service account" }}
{{- end }}
{{- if eq (int .Values.containerPort) (int .Values.probePort) }}
{{- fail "containerPort and probePort must differ" }}
{{- end }}
{{- $names := dict }}
{{- range .Values.ownerLabels }}
{{- $name := regexReplaceAll "[-./]" . "_" }}
{{- if hasKey $names $name }}
{{- fail (printf "ownerLabels: %s and %s would both be called %s" (get $names $name) . $name) }}
{{- end }}
{{- $_ := set $names $name . }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.create) }}
{{- fail "serviceMonitor.enabled needs service.create; without a Service use podMonitor.enabled" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled would scrape everything twice; choose one" }}
{{- end }}
{{- if and (ne .Values.mode "Deployment") (not .Values.rbac.useClusterRole) }}
{{- fail (printf "mode %s is for whole clusters and needs rbac.useClusterRole" .Values.mode) }}
{{- end }}
{{- range $name, $_ := .Values.prometheusRule.alerts }}
{{- if not (contains (printf "- alert: %s\n" $name) ($.Files.Get "files/alerts.yaml")) }}
{{- fail (printf "prometheusRule.alerts.%s: there is no such alert in files/alerts.yaml" $name) }}
{{- end }}
{{- end }}
{{- end }}
