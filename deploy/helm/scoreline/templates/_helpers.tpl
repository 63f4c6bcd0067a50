{{- /* Templates take a dict with `root` and `name` (line-provider, score-maker or arq-worker), except environment and
tls, which take the values that they use. */ -}}

{{- define "scoreline.fullname" -}}
{{ printf "%s-%s" .root.Release.Name .name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "scoreline.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "scoreline.labels" -}}
{{ include "scoreline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: scoreline
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "scoreline.image" -}}
image: {{ printf "%s/%s:%s" .root.Values.image.registry .name (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{- /* What all pods have in common: no API token, an ordinary user, the default system call filter. */ -}}
{{- define "scoreline.pod" -}}
automountServiceAccountToken: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "scoreline.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "scoreline.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "scoreline.selector" . | nindent 8 }}
{{- end }}

{{- /* Environment variables of a service: those in its secret, and `settings`, which take precedence. */ -}}
{{- define "scoreline.environment" -}}
envFrom:
  - secretRef: { name: {{ .secret | quote }} }
env:
  {{- range $name, $value := .settings }}
  - { name: {{ $name }}, value: {{ $value | quote }} }
  {{- end }}
{{- end }}

{{- define "scoreline.tls.mount" -}}
{{- if .secret }}
  - { name: tls, mountPath: /run/tls, readOnly: true }
{{- end }}
{{- end }}

{{- define "scoreline.tls.volume" -}}
{{- if .secret }}
  - name: tls
    secret: { secretName: {{ .secret | quote }}, defaultMode: 0440 }
{{- end }}
{{- end }}
